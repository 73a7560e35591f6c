"""What all clients in Python report: a line of JSON for each object, and one for the listing."""
import hashlib
import json
import os

ENDPOINT = os.environ["ENDPOINT"]
HOST = ENDPOINT.split("//")[1]
BUCKET = os.environ["BUCKET"]
KEYS = json.loads(os.environ["KEYS"])
WORK = os.environ["WORK"]


def report(key, data):
    print(json.dumps({"key": key, "size": len(data), "md5": hashlib.md5(data).hexdigest()}))


def listed(keys):
    print(json.dumps({"listed": sorted(keys)}))
