/** How a group of clients is installed, in pinned versions, into a folder of its own. */
export type Installation =
  | { readonly by: "pip" | "npm" | "go"; readonly packages: readonly string[] }
  /** Programs that are on the machine, or that root installs from Debian's packages. */
  | { readonly by: "apt"; readonly packages: readonly string[]; readonly program: string };

export const installations = {
  aws: { by: "pip", packages: ["boto3==1.44.8", "awscli==1.46.3", "minio==7.2.20"] },
  data: {
    by: "pip",
    packages: [
      "s3fs==2026.9.0",
      "pandas==3.1.1",
      "pyarrow==26.0.1",
      "polars==2.1.0",
      "duckdb==1.5.5",
      "duckdb-extension-httpfs==1.5.5",
      "obstore==0.12.1",
      "google-cloud-storage==3.17.1",
      "gcsfs==2026.10.1",
    ],
  },
  node: { by: "npm", packages: ["minio@8.0.7", "@google-cloud/storage@7.22.0", "@aws-sdk/client-s3@3.1169.0"] },
  mc: { by: "go", packages: ["github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9"] },
  rclone: { by: "apt", packages: ["rclone"], program: "rclone" },
  s3cmd: { by: "apt", packages: ["s3cmd"], program: "s3cmd" },
} as const satisfies Record<string, Installation>;

/** A client, and the program in `scripts/` that has it read all objects. */
export interface Client {
  readonly name: string;
  readonly installation: keyof typeof installations;
  readonly script: string;
  /** Arguments of the script. */
  readonly args?: readonly string[];
  /** It reads some objects only, and checks them itself. */
  readonly checksItself?: true;
  /** The store that it speaks to. Default: s3. */
  readonly store?: "gcs";
}

export const clients: readonly Client[] = [
  { name: "boto3", installation: "aws", script: "boto3_client.py" },
  { name: "awscli", installation: "aws", script: "awscli.sh" },
  { name: "minio-py", installation: "aws", script: "minio_client.py" },
  { name: "s3fs", installation: "data", script: "s3fs_client.py" },
  { name: "pyarrow", installation: "data", script: "pyarrow_client.py" },
  { name: "polars", installation: "data", script: "polars_client.py", checksItself: true },
  { name: "duckdb", installation: "data", script: "duckdb_client.py" },
  { name: "obstore", installation: "data", script: "obstore_client.py" },
  { name: "minio-js", installation: "node", script: "minio.mjs" },
  { name: "aws-sdk-js", installation: "node", script: "aws-sdk.mjs" },
  { name: "rclone", installation: "rclone", script: "rclone.sh" },
  { name: "s3cmd", installation: "s3cmd", script: "s3cmd.sh" },
  { name: "mc", installation: "mc", script: "mc.sh" },
  { name: "google-cloud-storage (Python)", installation: "data", script: "google_client.py", store: "gcs" },
  { name: "gcsfs", installation: "data", script: "gcsfs_client.py", store: "gcs" },
  { name: "google-cloud-storage (Node.js)", installation: "node", script: "google.mjs", store: "gcs" },
];
