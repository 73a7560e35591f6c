// A NestJS service that has the client injected, and closes it when the application ends.
import "reflect-metadata";
import { equal } from "node:assert/strict";
import { CacheClient } from "@frontcache/client";
import { Inject, Injectable, Module, type OnApplicationShutdown } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

@Injectable()
class Weights implements OnApplicationShutdown {
  constructor(@Inject(CacheClient) private readonly cache: CacheClient) {}

  async header(): Promise<Buffer> {
    return this.cache.readRange("s3://bucket/object", 0, 1_024);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.cache.close();
  }
}

@Module({
  providers: [
    { provide: CacheClient, useFactory: () => CacheClient.connect({ endpoint: process.argv[2]!, connectTimeoutMs: 60_000 }) },
    Weights,
  ],
})
class Application {}

const application = await NestFactory.createApplicationContext(Application, { logger: false });
equal((await application.get(Weights).header()).length, 1_024);
await application.close();
console.log("ok");
