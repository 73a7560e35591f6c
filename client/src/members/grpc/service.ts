import {
  CacheServiceDefinition,
  decodeLookupOwnerRequest,
  decodeReadRangeRequest,
  decodeReadRangeResponse,
  encodeReadRangeResponse,
  type MessageFns,
  RouterServiceDefinition,
} from "@frontcache/proto";
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Metadata,
  type MethodDefinition,
  makeGenericClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";

/** A generated service of the contract, without grpc-js. */
interface Contract {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, Method>>;
}

interface Method {
  readonly name: string;
  readonly requestType: MessageFns<unknown>;
  readonly responseType: MessageFns<unknown>;
  readonly responseStream: boolean;
}

type RequestOf<M extends Method> = ReturnType<M["requestType"]["decode"]>;
type ResponseOf<M extends Method> = ReturnType<M["responseType"]["decode"]>;

/** Converts a service to the form of grpc-js's Server and Client. */
export type ServiceOf<C extends Contract> = {
  readonly [Name in keyof C["methods"]]: MethodDefinition<RequestOf<C["methods"][Name]>, ResponseOf<C["methods"][Name]>>;
};

type Callback<Response> = (error: ServiceError | null, response: Response) => void;

interface UnaryCall<Request, Response> {
  (request: Request, callback: Callback<Response>): ClientUnaryCall;
  (request: Request, metadata: Metadata, callback: Callback<Response>): ClientUnaryCall;
  (request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: Callback<Response>): ClientUnaryCall;
}

interface StreamingCall<Request, Response> {
  (request: Request, options?: Partial<CallOptions>): ClientReadableStream<Response>;
  (request: Request, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<Response>;
}

/** A client of a service with grpc-js's calling conventions. */
export type ClientOf<C extends Contract> = Client & {
  readonly [Name in keyof C["methods"]]: C["methods"][Name]["responseStream"] extends true
    ? StreamingCall<RequestOf<C["methods"][Name]>, ResponseOf<C["methods"][Name]>>
    : UnaryCall<RequestOf<C["methods"][Name]>, ResponseOf<C["methods"][Name]>>;
};

type ClientClass<C extends Contract> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => ClientOf<C>;

function serviceOf<C extends Contract>({ fullName, methods }: C): ServiceOf<C> {
  const entries = Object.entries(methods).map(([key, { name, requestType, responseType, responseStream }]) => {
    const method: MethodDefinition<unknown, unknown> = {
      path: `/${fullName}/${name}`,
      requestStream: false,
      responseStream,
      requestSerialize: (message) => Buffer.from(requestType.encode(message).finish()),
      requestDeserialize: (bytes) => requestType.decode(bytes),
      responseSerialize: (message) => Buffer.from(responseType.encode(message).finish()),
      responseDeserialize: (bytes) => responseType.decode(bytes),
    };
    return [key, method];
  });
  return Object.fromEntries(entries) as ServiceOf<C>;
}

const generated = serviceOf(CacheServiceDefinition);

/** CacheService with our own (de)serializers for the messages of reads. Members and clients use it. */
export const cacheService: ServiceOf<CacheServiceDefinition> = {
  ...generated,
  lookupOwner: { ...generated.lookupOwner, requestDeserialize: decodeLookupOwnerRequest },
  readRange: {
    ...generated.readRange,
    requestDeserialize: decodeReadRangeRequest,
    responseSerialize: encodeReadRangeResponse,
    responseDeserialize: decodeReadRangeResponse,
  },
};

const router = serviceOf(RouterServiceDefinition);

/** RouterService, with which clients of FrontCache find a block's members. */
export const routerService: ServiceOf<RouterServiceDefinition> = {
  lookupOwner: { ...router.lookupOwner, requestDeserialize: decodeLookupOwnerRequest },
};

export type CacheServiceClient = ClientOf<CacheServiceDefinition>;

export const CacheServiceClient = makeGenericClientConstructor(
  cacheService,
  CacheServiceDefinition.fullName,
) as unknown as ClientClass<CacheServiceDefinition>;
