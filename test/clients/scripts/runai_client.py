import os

from task import BUCKET, ENDPOINT

os.environ["AWS_ENDPOINT_URL"] = ENDPOINT
os.environ["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] = "0"

import torch
from runai_model_streamer import SafetensorsStreamer

with SafetensorsStreamer() as streamer:
    streamer.stream_file(f"s3://{BUCKET}/data/model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in streamer.get_tensors()}
assert torch.equal(tensors["values"], torch.arange(128 * 1024, dtype=torch.int32).reshape(128, 1024))
