import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import type { Contestant } from "../measure.js";
import type { OriginProcess } from "../origin-process.js";
import type { StageObject } from "../stage.js";

/** The AWS SDK reading the beginning of an object from its S3 server, with no cache between. */
export function byAwsSdk(origin: OriginProcess, object: StageObject, length: number): Contestant & Disposable {
  const client = new S3Client({
    endpoint: origin.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  const read = async (): Promise<number> => {
    const command = new GetObjectCommand({ Bucket: "bench", Key: object.key, Range: `bytes=0-${length - 1}` });
    const { Body } = await client.send(command);
    return (await Body!.transformToByteArray()).length;
  };
  return { name: "AWS SDK from S3", read, serverPid: origin.pid, [Symbol.dispose]: () => client.destroy() };
}
