"""Random programs: `python -m tests.random_programs --seed 0 --count 20000`.

A family (`families.py`) makes the text of a program from random choices; running the text checks
it, on every device, against NumPy. What fails is made smaller (`choices.shrink`) and printed as
code that can be run. A program's number and the seed make it again.
"""
