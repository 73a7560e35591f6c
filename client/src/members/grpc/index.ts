/** The gRPC parts that members and clients share. This entry loads grpc-js; the package's main entry does not. */
export {
  answeredTrailers,
  callMetadata,
  descriptionFrom,
  descriptionMetadata,
  isOriginTried,
  isUnreachable,
} from "./call-metadata.js";
export { channelCredentials } from "./grpc-channels.js";
export { CacheServiceClient, cacheService, routerService, ValueServiceClient, valueService } from "./service.js";
