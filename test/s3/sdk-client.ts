import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";

/** Returns the AWS SDK's client of an S3 endpoint. Like the SDK's own default, it sends a request that fails up to three times. */
export function sdkClient(endpoint: string, maxAttempts = 3): S3Client {
  return new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "id", secretAccessKey: "secret" },
    maxAttempts,
  });
}

/** Reads an object as Latin-1 text. */
export async function readText(client: S3Client, Bucket: string, Key: string): Promise<string> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Body!.transformToString("latin1");
}
