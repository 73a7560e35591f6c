// An S3 server from a package, with a bucket that is filled through the AWS SDK. It counts its requests.
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";

// Resolved from the server package, which depends on the SDK.
const require = createRequire(new URL("../../server/package.json", import.meta.url));
const { PutObjectCommand, S3Client } = require("@aws-sdk/client-s3");
const S3rver = createRequire(import.meta.url)("s3rver");

// The locked SDK runs on Node 20. Its warning about later versions would only confuse users of the demo.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";

/** The key pair that the S3 server accepts. */
export const CREDENTIALS = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };

export async function startOrigin({ directory, bucket }) {
  await mkdir(directory, { recursive: true });
  const server = new S3rver({ address: "127.0.0.1", port: 0, silent: true, directory, configureBuckets: [{ name: bucket }] });
  const { port } = await server.run();
  const counts = { GET: 0, HEAD: 0 };
  server.httpServer.prependListener("request", ({ method }) => {
    if (method in counts) counts[method]++;
  });
  const endpoint = `http://127.0.0.1:${port}`;
  const s3 = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: CREDENTIALS,
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  return {
    endpoint,
    get gets() {
      return counts.GET;
    },
    get heads() {
      return counts.HEAD;
    },
    put: (key, body) => s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body })),
    async stop() {
      s3.destroy();
      server.httpServer.closeAllConnections();
      await server.close();
    },
  };
}
