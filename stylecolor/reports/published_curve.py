"""The authors' own curve of PSNR against the number of hints."""

POINTS_PSNR = {
    0: 24.43,
    1: 25.37,
    2: 26.20,
    5: 27.39,
    10: 28.42,
    20: 29.34,
    50: 30.42,
    100: 31.13,
    200: 31.70,
    501: 32.14,
}
"""PSNR in dB by the number of revealed 6 x 6 px patches of the true ab at random places, for the released weights (Zhang et al.,
"Real-Time User-Guided Image Colorization with Learned Deep Priors", 2017), over 1 000 ImageNet validation pictures at 256 x 256 px:
`psnrs_siggraph.npy` of the authors' repository richzhang/colorization-pytorch, made by its `test_sweep.py`."""
POINTS_SOURCE = "Zhang et al. 2017, released weights, 1 000 ImageNet validation pictures at 256 x 256 px"
