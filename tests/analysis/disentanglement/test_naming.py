import numpy as np

from cellfx.analysis.disentanglement.naming import factor_columns, strongest_factors

NAMES = ("area_px", "eccentricity", "orientation_rad")


def cells(count=2_000):
    rng = np.random.default_rng(0)
    area, shape, angle = rng.uniform(1, 2, count), rng.uniform(0, 1, count), rng.uniform(0, np.pi, count)
    return np.stack([area, shape, angle], axis=1)


def test_a_latent_that_follows_a_factor_is_named_by_it():
    factors = cells()
    (found,) = strongest_factors(-np.exp(factors[:, :1]), factors, NAMES)
    assert found[0][0] == "area_px"
    np.testing.assert_allclose(found[0][1], -1.0, rtol=1e-12)
    assert abs(found[1][1]) < 0.1


def test_one_component_of_the_shape_vector_is_recognized_in_whatever_direction():
    factors = cells()
    _, shape, angle = factors.T
    for direction in (0.0, 0.4, 2.0):
        code = (shape**2 * np.cos(2 * angle - direction))[:, None]
        (found,) = strongest_factors(code, factors, NAMES)
        assert found[0][0] == "eccentricity along an axis"
        assert abs(found[0][1]) > 0.99
        assert abs(dict(found)["eccentricity"]) < 0.1


def test_factors_without_a_direction_stay_as_they_are():
    columns, labels = factor_columns(cells()[:, :2], NAMES[:2])
    assert labels == list(NAMES[:2])
    np.testing.assert_array_equal(columns, cells()[:, :2])
