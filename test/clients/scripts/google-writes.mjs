import { createRequire } from "node:module";
import { BUCKET, CLIENT_FOLDER, ENDPOINT, written } from "./task.mjs";

const { Storage } = createRequire(`${CLIENT_FOLDER}/`)("@google-cloud/storage");
const storage = new Storage({ apiEndpoint: ENDPOINT, projectId: "any", useAuthWithCustomEndpoint: false });
const bucket = storage.bucket(BUCKET);
const { files, deleted } = written();
for (const [destination, path] of files) {
  const isLarge = destination.endsWith("large.bin");
  await bucket.upload(path, { destination, resumable: isLarge, ...(isLarge && { chunkSize: 2 << 20 }) });
}
for (const key of deleted) await bucket.file(key).delete();
