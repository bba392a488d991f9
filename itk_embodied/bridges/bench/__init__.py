"""Pictures from one process to another over every path that robots use, measured side by side.

A child process sends (`sender`), this one receives (`receivers`); each path is written as its own users write it
(`styles`). `runner.bench_transport` interleaves the paths, so that what else the machine does hits all of them alike.
"""
