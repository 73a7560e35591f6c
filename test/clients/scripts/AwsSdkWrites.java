import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/** Writes files by the transfer manager of the AWS SDK for Java, large ones in parallel parts, reads each back, and deletes objects. */
public class AwsSdkWrites {
  private static final long PART_BYTES = 5 << 20;

  public static void main(String[] args) throws Exception {
    String bucket = System.getenv("BUCKET");
    try (S3AsyncClient client =
            S3AsyncClient.builder()
                .endpointOverride(URI.create(System.getenv("ENDPOINT")))
                .forcePathStyle(true)
                .multipartEnabled(true)
                .multipartConfiguration(parts -> parts.minimumPartSizeInBytes(PART_BYTES).thresholdInBytes(PART_BYTES))
                .build();
        S3TransferManager transfers = S3TransferManager.builder().s3Client(client).build()) {
      for (String name : list("FILES")) {
        String key = System.getenv("PREFIX") + "/" + name;
        Path file = Path.of(System.getenv("SOURCE"), name);
        transfers.uploadFile(upload -> upload.putObjectRequest(put -> put.bucket(bucket).key(key)).source(file)).completionFuture().join();
        byte[] read = client.getObject(get -> get.bucket(bucket).key(key), AsyncResponseTransformer.toBytes()).join().asByteArray();
        if (!Arrays.equals(read, Files.readAllBytes(file))) throw new IllegalStateException("read otherwise than written: " + key);
      }
      List<ObjectIdentifier> keys = list("DELETED").stream().map(key -> ObjectIdentifier.builder().key(key).build()).toList();
      var answer = client.deleteObjects(request -> request.bucket(bucket).delete(delete -> delete.objects(keys))).join();
      if (answer.hasErrors()) throw new IllegalStateException("not deleted: " + answer.errors());
    }
  }

  private static List<String> list(String name) {
    return JsonNode.parser().parse(System.getenv(name)).asArray().stream().map(JsonNode::asString).toList();
  }
}
