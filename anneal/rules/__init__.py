"""The rules of the compiler, as `.upat` files, and the modules generated from them."""
