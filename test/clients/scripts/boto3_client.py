import boto3
from task import BUCKET, ENDPOINT, KEYS, listed, report

client = boto3.client("s3", endpoint_url=ENDPOINT)
for key in KEYS:
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    report(key, body)
    if len(body) > 20:
        part = client.get_object(Bucket=BUCKET, Key=key, Range="bytes=5-14")["Body"].read()
        assert part == body[5:15], key
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(body), key

keys = [entry.key for entry in boto3.resource("s3", endpoint_url=ENDPOINT).Bucket(BUCKET).objects.all()]
assert keys == [o["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2}) for o in page["Contents"]]
assert BUCKET in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
client.head_bucket(Bucket=BUCKET)
url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "small.txt"})
import urllib.request

assert urllib.request.urlopen(url).read() == b"hello clients"
listed(keys)
