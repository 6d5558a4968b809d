"""Shape annotations of the project. Checked while testing (jaxtyping), free at run time.

B batch, T time, S another number of tokens, D channels of a feature or of the residual stream, M vocabulary, H heads, G
heads that each serve H / G of them, K head width, V value width of a head, N recurrent state size, W taps of a kernel.
"""

from jaxtyping import Float, Int
from torch import Tensor

BT = Int[Tensor, "B T"]
BS = Int[Tensor, "B S"]
BTM = Float[Tensor, "B T M"]
BTD = Float[Tensor, "B T D"]
BTE = Float[Tensor, "B T E"]
BTN = Float[Tensor, "B T N"]
BDN = Float[Tensor, "B D N"]
BD = Float[Tensor, "B D"]
BTHK = Float[Tensor, "B T H K"]
BTGK = Float[Tensor, "B T G K"]
BTHV = Float[Tensor, "B T H V"]
BTH = Float[Tensor, "B T H"]
BHKV = Float[Tensor, "B H K V"]
WD = Float[Tensor, "W D"]
TD = Float[Tensor, "T D"]
D = Float[Tensor, "D"]
DN = Float[Tensor, "D N"]
