"""Outcomes: one number per run, computed from a network's output.

Which one to take: `LogitDifference` between two tokens or classes, `Logit`, `Probability`, `ClassifierMargin`;
`CorrectAnswer` and `ExampleLoss` against labels; `ContinuationLogProbability` of a given ending; `KLToClean` for any
change of the prediction; `Projection` and `AnchorProjection` of hidden states; `CallableOutcome` for a function of your
own; `GeneratedOutcome` for a judge of generated text. `Sampling` turns a computed outcome into a noisy judge's,
`OutcomeSet` puts several together. An outcome of your own keeps to the protocol `Outcome`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
