import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { HeadObjectCommand, ListBucketsCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { expect, it } from "vitest";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { GcsEmulator } from "../emulators/gcs.js";
import { S3Emulator } from "../emulators/s3.js";
import { readText, sdkClient } from "../s3/sdk-client.js";

it("serves buckets of S3 and of GCS at one S3 endpoint, as the origins file says", async () => {
  await using gcs = await GcsEmulator.start();
  await using s3 = await S3Emulator.start();
  await using directory = await temporaryDirectory();
  const generation = gcs.put("models", "weights 1", "of GCS");
  s3.put("lake", "table", "of S3");
  s3.put("models", "weights 1", "hidden behind GCS's bucket");
  const origins = join(directory.path, "origins.yaml");
  writeFileSync(
    origins,
    [
      "origins:",
      `  - { buckets: gs://models, endpoint: "${gcs.endpoint}", credentials: anonymous, userProject: project, atS3Endpoint: true }`,
      `  - { buckets: "s3://*", endpoint: "${s3.endpoint}", region: us-east-1, pathStyle: true }`,
    ].join("\n"),
  );
  const member = await MemberProcess.start({
    endpoint: s3.endpoint,
    cacheDirectory: `${directory.path}/cache:100MiB`,
    flags: ["--origins", origins],
  });
  const client = sdkClient(`http://${member.s3}`);
  expect(await readText(client, "models", "weights 1")).toBe("of GCS");
  expect(await readText(client, "lake", "table")).toBe("of S3");
  const { ETag } = await client.send(new HeadObjectCommand({ Bucket: "models", Key: "weights 1" }));
  expect(ETag).toBe(`"${generation}"`);
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: "models" }));
  expect(Contents.map(({ Key }) => Key)).toEqual(["weights 1"]);
  const { Buckets = [] } = await client.send(new ListBucketsCommand({}));
  expect(Buckets.map(({ Name }) => Name)).toEqual(["lake", "models"]);
  client.destroy();
  await member.stop();
});
