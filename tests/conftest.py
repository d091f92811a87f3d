from hypothesis import settings

# The first example compiles kernels, and interpreted kernels are slow.
settings.register_profile("patterndim", deadline=None, derandomize=True)
settings.load_profile("patterndim")
