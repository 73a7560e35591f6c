import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { type Benchmark, OURS } from "../answer.js";
import { median, timeMs } from "../measure.js";
import type { OriginProcess } from "../origin-process.js";
import { MiB, onStage, type StageObject } from "../stage.js";

const CONCURRENCY = 64;
const ROUNDS = 3;
const SIZE = 16 * MiB;

type Read = (object: StageObject) => Promise<unknown>;

interface Herd {
  readonly ms: number;
  /** Bytes that the origin sent over the size of the object. */
  readonly originBytes: number;
}

/** Sixty-four concurrent reads of the same new object. */
async function herd(origin: OriginProcess, name: string, read: Read): Promise<Herd> {
  const [times, shares]: [number[], number[]] = [[], []];
  for (let round = -1; round < ROUNDS; round++) {
    const object = await origin.putObject(`${name}-${round}`, SIZE);
    await origin.traffic();
    const ms = await timeMs(() => Promise.all(Array.from({ length: CONCURRENCY }, () => read(object))));
    if (round < 0) continue;
    times.push(ms);
    shares.push((await origin.traffic()).bytesSent / SIZE);
  }
  return { ms: median(times), originBytes: median(shares) };
}

export const benchmark: Benchmark = {
  question: "What do 64 concurrent reads of one cold object of 16 MiB cost at an origin of 100 MB/s per connection?",
  run: () =>
    onStage(async ({ origin, client }) => {
      const s3 = new S3Client({
        endpoint: origin.endpoint,
        region: "us-east-1",
        forcePathStyle: true,
        credentials: { accessKeyId: "test", secretAccessKey: "test" },
      });
      await origin.pace(30, 100e6);
      const ours = await herd(origin, "cached", ({ url }) => client.readRange(url, 0, SIZE));
      const direct = await herd(origin, "direct", async ({ key }) => {
        const { Body } = await s3.send(new GetObjectCommand({ Bucket: "bench", Key: key }));
        return Body!.transformToByteArray();
      });
      s3.destroy();
      return {
        figures: [
          { name: "through a member: until all are done", value: ours.ms, unit: "ms" },
          {
            name: "through a member: bytes sent by the origin / size of the object",
            value: ours.originBytes,
            unit: "x",
            atMost: 1,
          },
          { name: "AWS SDK from S3: until all are done", value: direct.ms, unit: "ms" },
          { name: "AWS SDK from S3: bytes sent by the origin / size of the object", value: direct.originBytes, unit: "x" },
        ],
        chart: {
          unit: "ms until all 64 reads are done, less is better",
          bars: [
            { name: `${OURS} readRange`, values: [ours.ms], ours: true },
            { name: "AWS SDK from S3", values: [direct.ms], ours: false },
          ],
        },
      };
    }),
};
