"""The task of all clients in Python, and how they report: a line of JSON for each object, and one for the listing."""
import hashlib
import json
import os

ENDPOINT = os.environ["ENDPOINT"]
HOST = ENDPOINT.split("//")[1]
BUCKET = os.environ["BUCKET"]
KEYS = json.loads(os.environ.get("KEYS", "[]"))
WORK = os.environ["WORK"]


def report(key, data):
    print(json.dumps({"key": key, "size": len(data), "md5": hashlib.md5(data).hexdigest()}))


def listed(keys):
    print(json.dumps({"listed": sorted(keys)}))


def written():
    """What a program that writes has to do: pairs of a key and the file to write there, and keys to delete."""
    files = json.loads(os.environ["FILES"])
    source, prefix = os.environ["SOURCE"], os.environ["PREFIX"]
    return [(f"{prefix}/{name}", os.path.join(source, name)) for name in files], json.loads(os.environ["DELETED"])
