import boto3
from boto3.s3.transfer import TransferConfig
from task import BUCKET, ENDPOINT, written

FILES, DELETED = written()
client = boto3.client("s3", endpoint_url=ENDPOINT)
in_parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
for key, path in FILES:
    client.upload_file(path, BUCKET, key, Config=in_parts)
    with open(path, "rb") as file:
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == file.read(), key
answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in DELETED]})
assert len(answer["Deleted"]) == len(DELETED)
