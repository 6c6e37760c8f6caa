"""Inner loops over pixels, compiled by Numba: what numpy would do in many passes, in one.

A kernel is a plain function on arrays that holds no lock and starts no thread; who calls it cuts
the work into strips and hands these to threads. Compiled code is cached beside the source.
"""
