"""The model zoo: every model by its name, the user's own behind Velodrome's.

To add one to Velodrome, write its file and name it here.
"""

import os
from typing import Dict, Tuple

from velodrome.adapters.models import user_models
from velodrome.adapters.models.alexnet import ALEXNET, ALEXNET_PLAIN
from velodrome.adapters.models.autoencoder import LARGE, SMALL
from velodrome.adapters.models.ceilings import CANARY, COPY, GEMMS
from velodrome.adapters.models.collectives import COLLECTIVES
from velodrome.adapters.models.copies import COPIES
from velodrome.adapters.models.layers import Model
from velodrome.adapters.models.lenet import LENET
from velodrome.adapters.models.lstm import LSTM
from velodrome.adapters.models.probes import PROBES
from velodrome.adapters.models.resnet import RESNET50, RESNET_TINY
from velodrome.adapters.models.transformers import TRANSFORMERS

MODELS: Dict[str, Model] = {
    model.name: model
    for model in (
        LENET,
        ALEXNET,
        ALEXNET_PLAIN,
        *SMALL,
        *LARGE,
        LSTM,
        RESNET50,
        RESNET_TINY,
        *TRANSFORMERS,
        *GEMMS,
        COPY,
        CANARY,
        *COLLECTIVES,
        *COPIES,
        *(probe.model for probe in PROBES),
    )
}

user_models.add_encoded(MODELS, os.environ.get(user_models.TEXTS_VARIABLE, ""))
for _file in user_models.list_model_files(os.environ.get(user_models.VARIABLE, "")):
    user_models.add_models(MODELS, _file)


def list_families() -> Dict[str, Tuple[str, ...]]:
    """Return the names that stand for several models, e.g. autoencoder-400-200-100 for four."""
    found: Dict[str, Tuple[str, ...]] = {}
    for name in MODELS:
        if "/" in name:
            family = name.split("/")[0]
            found[family] = (*found.get(family, ()), name)
    return found
