import imagecodecs
import numpy as np

from stylecolor.pictures import color_profiles


def test_few_profiles_are_kept_in_memory() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    for number in range(40):
        gamma = 1 + number / 40
        profile = imagecodecs.cms_profile(
            "rgb", whitepoint=(0.3127, 0.3290, 1.0), primaries=(0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1), gamma=gamma
        )
        color_profiles.convert_to_srgb(pixels, profile)
    assert color_profiles._is_srgb.cache_info().currsize <= 16
