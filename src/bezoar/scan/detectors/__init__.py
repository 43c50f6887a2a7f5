"""Detectors with scikit-learn's conventions, over the pure functions of `bezoar.scan.functional`.

    from bezoar.scan.detectors import DETECTORS, NeighbourGraph

    graph = NeighbourGraph.of(X)  # the k-NN search, once for all
    for name, detector in DETECTORS.items():
        scores = detector().fit(X, y, neighbours=graph).scores_

Other distributions add theirs by an entry point of the group "bezoar.detectors".
"""

from bezoar.scan.detectors.base import DETECTORS, Detector, NeighbourGraph
from bezoar.scan.detectors.density import DAO, LID, SLOF, KDistance
from bezoar.scan.detectors.labels import DeepKNN, Mahalanobis, SCAn, SpectralSignatures

__all__ = [
    "DAO",
    "DETECTORS",
    "LID",
    "SLOF",
    "DeepKNN",
    "Detector",
    "KDistance",
    "Mahalanobis",
    "NeighbourGraph",
    "SCAn",
    "SpectralSignatures",
]

DETECTORS.register("k-distance", KDistance)
DETECTORS.register("slof", SLOF)
DETECTORS.register("dao", DAO)
DETECTORS.register("lid", LID)
DETECTORS.register("deep-knn", DeepKNN)
DETECTORS.register("mahalanobis", Mahalanobis)
DETECTORS.register("spectral-signatures", SpectralSignatures)
DETECTORS.register("scan", SCAn)
