import {
  CacheServiceDefinition,
  decodeAnyNumbers,
  decodeLookupOwnerRequest,
  decodeReadRangeRequest,
  decodeReadRangeResponse,
  encodeReadRangeResponse,
  type MessageFns,
  RouterServiceDefinition,
  ValueServiceDefinition,
} from "@frontcache/proto";
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
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
  readonly requestStream: boolean;
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

interface UploadCall<Request, Response> {
  (metadata: Metadata, options: Partial<CallOptions>, callback: Callback<Response>): ClientWritableStream<Request>;
  (callback: Callback<Response>): ClientWritableStream<Request>;
}

type CallOf<M extends Method> = M["requestStream"] extends true
  ? UploadCall<RequestOf<M>, ResponseOf<M>>
  : M["responseStream"] extends true
    ? StreamingCall<RequestOf<M>, ResponseOf<M>>
    : UnaryCall<RequestOf<M>, ResponseOf<M>>;

/** A client of a service with grpc-js's calling conventions. */
export type ClientOf<C extends Contract> = Client & { readonly [Name in keyof C["methods"]]: CallOf<C["methods"][Name]> };

type ClientClass<C extends Contract> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => ClientOf<C>;

function serviceOf<C extends Contract>({ fullName, methods }: C): ServiceOf<C> {
  const entries = Object.entries(methods).map(([key, { name, requestType, responseType, requestStream, responseStream }]) => {
    const method: MethodDefinition<unknown, unknown> = {
      path: `/${fullName}/${name}`,
      requestStream,
      responseStream,
      requestSerialize: (message) => Buffer.from(requestType.encode(message).finish()),
      requestDeserialize: (bytes) => decodeAnyNumbers(requestType, bytes),
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

/** ValueService, with which clients write and read values. */
export const valueService: ServiceOf<ValueServiceDefinition> = serviceOf(ValueServiceDefinition);

export type ValueServiceClient = ClientOf<ValueServiceDefinition>;

export const ValueServiceClient = makeGenericClientConstructor(
  valueService,
  ValueServiceDefinition.fullName,
) as unknown as ClientClass<ValueServiceDefinition>;

export type CacheServiceClient = ClientOf<CacheServiceDefinition>;

export const CacheServiceClient = makeGenericClientConstructor(
  cacheService,
  CacheServiceDefinition.fullName,
) as unknown as ClientClass<CacheServiceDefinition>;
