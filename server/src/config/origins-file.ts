import { type BucketPattern, covers } from "./bucket-pattern.js";
import { MappingReader, Problems } from "./mapping-reader.js";
import { type OriginRule, readOriginRule } from "./origin-rule.js";
import type { Parser } from "./parser.js";
import { readSettingsFile } from "./settings-file.js";
import { readYaml } from "./yaml-document.js";

/**
 * A file that assigns buckets to origins. The first origin whose patterns match a bucket serves it; a bucket without an origin
 * is refused. Only `buckets` is required.
 *
 *     origins:
 *       - buckets: s3://lake-*              # one pattern or a list: a name, a prefix followed by *, or *
 *         # storeBucket: acme-lake          # the bucket's name in the store; for one bucket without *; default: the same name
 *         endpoint: http://minio:9000       # default: AWS or AWS_ENDPOINT_URL_S3; Google or STORAGE_EMULATOR_HOST
 *         region: eu-central-1              # s3; default: AWS_REGION, the profile, then us-east-1
 *         ca: /etc/store/ca.pem             # authorities to trust in addition to Node's; s3's default: AWS_CA_BUNDLE
 *         pathStyle: true                   # s3; default: --s3-force-path-style
 *         credentials:                      # default | anonymous | one of:
 *           keys:                           # s3: the names of environment variables, never the keys themselves
 *             accessKeyId: LAKE_KEY_ID
 *             secretAccessKey: LAKE_SECRET
 *             sessionToken: LAKE_TOKEN      # optional
 *           # profile: lake                 # s3: a profile of the AWS files
 *           # keyFile: /etc/gcs/key.json    # gs
 *         requesterPays: true               # s3; default: false
 *         # userProject: my-project         # gs: the project that is billed
 *         # atS3Endpoint: true              # gs: the S3 endpoint serves the buckets by their names, too; default: false
 *         limits:                           # defaults: --origin-requests, --origin-bytes, ...
 *           requestsPerSecond: 500
 *           bytesPerSecond: 200MiB
 *           concurrency: 64
 *           maxWait: 5s
 *         hedge: false                      # default: --hedge
 *         corsOrigins: https://maps.example # pages that may read by CORS, separated by commas; default: --cors-origin
 *       - buckets: [gs://models, gs://media-*]
 */
export const originsFile: Parser<readonly OriginRule[]> = {
  unit: "path",
  parse(text) {
    const { path, content } = readSettingsFile(text);
    return parseOrigins(content, path);
  },
};

/** Parses the rules of a file, in order. Each problem begins with `name`. Throws Problems. */
export function parseOrigins(content: string, name: string): readonly OriginRule[] {
  const noted: string[] = [];
  const rules = readDocument(content, noted);
  if (noted.length === 0) noteUnreachable(rules, noted);
  if (noted.length > 0) throw new Problems(noted.map((clause) => `${name}: ${clause}`));
  return rules;
}

function readDocument(content: string, noted: string[]): OriginRule[] {
  const document = readYaml(content, noted);
  if (noted.length > 0) return [];
  const file = new MappingReader(document ?? {}, "", noted);
  const list = file.take("origins");
  file.end();
  if (!Array.isArray(list) || list.length === 0) {
    noted.push("origins: is not a list: use at least one origin, as in - buckets: s3://*");
    return [];
  }
  return list.flatMap((entry, at) => readOriginRule(file.at(`origins[${at}]`, entry)) ?? []);
}

/** Reports patterns that never match, because an earlier one covers them. */
function noteUnreachable(rules: readonly OriginRule[], noted: string[]): void {
  const before: BucketPattern[] = [];
  for (const [at, { buckets }] of rules.entries()) {
    for (const pattern of buckets) {
      const taker = before.find((other) => covers(other, pattern));
      if (taker !== undefined) {
        const [own, other] = [pattern, taker].map(({ scheme, bucket }) => `${scheme}://${bucket}`);
        noted.push(`origins[${at}].buckets: ${own} never matches because ${other} comes first: move it up`);
      }
      before.push(pattern);
    }
  }
}
