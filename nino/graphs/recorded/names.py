"""Names of ATen operations that the recorder treats alike."""

#: Views of all or some of a tensor's elements.
VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "unsqueeze", "squeeze",
         "expand", "slice", "select", "split", "split_with_sizes", "unbind", "narrow", "alias", "detach",
         "unsafe_split", "unsafe_chunk", "chunk", "unsafe_split_with_sizes", "numpy_T"}  # fmt: skip
#: Views that take some of a dimension's elements.
PICKED = {"slice", "select", "split", "split_with_sizes", "unbind", "narrow", "unsafe_split", "unsafe_chunk", "chunk",
          "unsafe_split_with_sizes"}  # fmt: skip
#: Operations that only rearrange elements.
ARRANGED = VIEWS | {"cat", "concat", "stack", "repeat", "flip", "roll", "constant_pad_nd", "index_select"}
#: Operations that give the same elements.
COPIES = {"clone", "contiguous", "_to_copy", "lift_fresh", "lift_fresh_copy", "alias", "detach"}
#: Operations whose result is drawn or left undefined.
RANDOM = {"bernoulli", "native_dropout", "rand_like", "randn_like", "normal", "uniform", "exponential", "random",
          "rand", "randn", "randint", "randperm", "empty", "empty_like", "new_empty", "empty_strided",
          "new_empty_strided", "multinomial", "rrelu_with_noise", "dropout"}  # fmt: skip
#: Operations whose result is the same number everywhere, or one number.
FILLED = {"zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "fill",
          "zero", "scalar_tensor"}  # fmt: skip
#: Operations whose result is the same everywhere if their input is.
ALIKE = {"repeat", "flip", "roll", "sum", "mean", "amax", "amin", "any", "all", "prod", "index_select", "unfold"}
