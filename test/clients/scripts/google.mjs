import { createRequire } from "node:module";
import { BUCKET, CLIENT_FOLDER, ENDPOINT, KEYS, listed, report } from "./task.mjs";

const { Storage } = createRequire(`${CLIENT_FOLDER}/`)("@google-cloud/storage");
const storage = new Storage({ apiEndpoint: ENDPOINT, projectId: "any", useAuthWithCustomEndpoint: false });
const bucket = storage.bucket(BUCKET);
for (const key of KEYS) report(key, (await bucket.file(key).download())[0]);
const [files] = await bucket.getFiles();
listed(files.map(({ name }) => name));
