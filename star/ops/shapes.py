"""The project's one alphabet of shapes. Checked while testing (jaxtyping), free at run time.

B batch, T time, D channels of a feature or of the residual stream, H query heads, G key/value heads,
K head width, N recurrent state size, W taps of a kernel, M vocabulary.
"""

from jaxtyping import Float, Int
from torch import Tensor

BT = Int[Tensor, "B T"]
BTM = Float[Tensor, "B T M"]
BTD = Float[Tensor, "B T D"]
BTE = Float[Tensor, "B T E"]
BTN = Float[Tensor, "B T N"]
BDN = Float[Tensor, "B D N"]
BTHK = Float[Tensor, "B T H K"]
WD = Float[Tensor, "W D"]
TD = Float[Tensor, "T D"]
D = Float[Tensor, "D"]
DN = Float[Tensor, "D N"]
