/** How a group of clients is installed, in pinned versions, into a folder of its own. */
export type Installation =
  | { readonly by: "pip" | "npm" | "go"; readonly packages: readonly string[] }
  /** Programs in `scripts/`, of one file each, built with modules. */
  | { readonly by: "go build"; readonly packages: readonly string[]; readonly sources: readonly string[] }
  /** Artifacts of Maven, as group:artifact:version. Those of `alone` come without their dependencies. */
  | { readonly by: "maven"; readonly packages: readonly string[]; readonly alone?: readonly string[] }
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
      "zarr==3.1.6",
      "pylance==14.0.2",
      "safetensors==0.8.0",
    ],
  },
  torch: {
    by: "pip",
    packages: [
      "torch==2.15.0",
      "s3torchconnector==1.5.0",
      "runai-model-streamer==0.17.0",
      "runai-model-streamer-s3==0.17.0",
      "safetensors==0.8.0",
    ],
  },
  node: { by: "npm", packages: ["minio@8.0.7", "@google-cloud/storage@7.22.0", "@aws-sdk/client-s3@3.1169.0"] },
  mc: { by: "go", packages: ["github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9"] },
  "aws-sdk-go": {
    by: "go build",
    packages: [
      "github.com/aws/aws-sdk-go-v2/config@v1.33.18",
      "github.com/aws/aws-sdk-go-v2/feature/s3/manager@v1.23.24",
      "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager@v0.5.7",
      "github.com/aws/aws-sdk-go-v2/service/s3@v1.114.10",
    ],
    sources: ["aws_sdk.go", "aws_sdk_writes.go"],
  },
  "aws-sdk-java": {
    by: "maven",
    packages: ["software.amazon.awssdk:s3-transfer-manager:2.31.0", "org.slf4j:slf4j-nop:1.7.36"],
  },
  hadoop: {
    by: "maven",
    packages: [
      "org.apache.hadoop:hadoop-client-api:3.4.1",
      "org.apache.hadoop:hadoop-client-runtime:3.4.1",
      "software.amazon.awssdk:s3-transfer-manager:2.31.0",
      "software.amazon.awssdk:sts:2.31.0",
      "software.amazon.awssdk:kms:2.31.0",
      "org.apache.commons:commons-lang3:3.14.0",
    ],
    // It depends on all services of AWS, 600 MB.
    alone: ["org.apache.hadoop:hadoop-aws:3.4.1"],
  },
  gdal: { by: "apt", packages: ["gdal-bin"], program: "gdalinfo" },
  rclone: { by: "apt", packages: ["rclone"], program: "rclone" },
  s3cmd: { by: "apt", packages: ["s3cmd"], program: "s3cmd" },
} as const satisfies Record<string, Installation>;

/** A client, and the programs in `scripts/` that have it read all objects, and write some. */
export interface Client {
  readonly name: string;
  readonly installation: keyof typeof installations;
  readonly script: string;
  /** Arguments of the script. */
  readonly args?: readonly string[];
  /** It reads some objects only, and checks them itself. */
  readonly checksItself?: true;
  /** The program that has it write all files of a folder and delete all other objects. Absent: it only reads. */
  readonly writes?: string;
  /** The store that it speaks to. Default: s3. */
  readonly store?: "gcs";
}

export const clients: readonly Client[] = [
  { name: "boto3", installation: "aws", script: "boto3_client.py", writes: "boto3_writes.py" },
  { name: "awscli", installation: "aws", script: "awscli.sh", writes: "awscli_writes.sh" },
  { name: "minio-py", installation: "aws", script: "minio_client.py", writes: "minio_writes.py" },
  { name: "s3fs", installation: "data", script: "s3fs_client.py" },
  { name: "pyarrow", installation: "data", script: "pyarrow_client.py", writes: "pyarrow_writes.py" },
  { name: "polars", installation: "data", script: "polars_client.py", checksItself: true },
  { name: "duckdb", installation: "data", script: "duckdb_client.py" },
  { name: "obstore", installation: "data", script: "obstore_client.py", writes: "obstore_writes.py" },
  { name: "zarr", installation: "data", script: "zarr_client.py", checksItself: true },
  { name: "lance", installation: "data", script: "lance_client.py", checksItself: true },
  { name: "safetensors", installation: "data", script: "safetensors_client.py", checksItself: true },
  { name: "s3torchconnector", installation: "torch", script: "torch_client.py" },
  { name: "runai-model-streamer", installation: "torch", script: "runai_client.py", checksItself: true },
  { name: "gdal", installation: "gdal", script: "gdal.sh", checksItself: true },
  { name: "aws-sdk-go", installation: "aws-sdk-go", script: "aws_sdk.go", writes: "aws_sdk_writes.go" },
  { name: "aws-sdk-java", installation: "aws-sdk-java", script: "AwsSdk.java", writes: "AwsSdkWrites.java" },
  { name: "hadoop", installation: "hadoop", script: "Hadoop.java" },
  { name: "minio-js", installation: "node", script: "minio.mjs", writes: "minio-writes.mjs" },
  { name: "aws-sdk-js", installation: "node", script: "aws-sdk.mjs", writes: "aws-sdk-writes.mjs" },
  { name: "rclone", installation: "rclone", script: "rclone.sh", writes: "rclone_writes.sh" },
  { name: "s3cmd", installation: "s3cmd", script: "s3cmd.sh", writes: "s3cmd_writes.sh" },
  { name: "mc", installation: "mc", script: "mc.sh", writes: "mc_writes.sh" },
  {
    name: "google-cloud-storage (Python)",
    installation: "data",
    script: "google_client.py",
    writes: "google_writes.py",
    store: "gcs",
  },
  { name: "gcsfs", installation: "data", script: "gcsfs_client.py", store: "gcs" },
  {
    name: "google-cloud-storage (Node.js)",
    installation: "node",
    script: "google.mjs",
    writes: "google-writes.mjs",
    store: "gcs",
  },
];
