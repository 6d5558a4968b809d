"""Other regressors, from scikit-learn, on the same folds. Needs the extra `bench`."""

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from comparing.table import Data
from comparing.validation import Predict


def regressors() -> dict[str, Predict]:
    """Return the regressors by name."""
    boosting = GradientBoostingRegressor(
        n_estimators=400, learning_rate=0.05, max_depth=3, subsample=0.7, max_features=0.3, random_state=0
    )
    trees = {"n_estimators": 300, "max_features": 0.4, "min_samples_leaf": 2, "random_state": 0}
    found: dict[str, RegressorMixin] = {
        "linear ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 13))),
        "kernel ridge, RBF": TransformedTargetRegressor(  # it has no intercept of its own
            make_pipeline(StandardScaler(), KernelRidge(kernel="rbf", alpha=0.3, gamma=1e-3)),
            transformer=StandardScaler(),
        ),
        "random forest": RandomForestRegressor(**trees),
        "extremely randomised trees": ExtraTreesRegressor(**trees),
        "gradient boosting": MultiOutputRegressor(boosting),
    }
    return {name: _predictor(one) for name, one in found.items()}


def _predictor(regressor: RegressorMixin) -> Predict:
    def predict(data: Data, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return regressor.fit(data.features[fitted], data.qualities[fitted]).predict(data.features[asked])

    return predict
