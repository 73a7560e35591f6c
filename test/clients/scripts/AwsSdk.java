import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/** Reads all objects by the transfer manager of the AWS SDK for Java, to files, and by the client below it, in memory. */
public class AwsSdk {
  public static void main(String[] args) throws Exception {
    String bucket = System.getenv("BUCKET");
    List<String> keys = JsonNode.parser().parse(System.getenv("KEYS")).asArray().stream().map(JsonNode::asString).toList();
    try (S3AsyncClient client = S3AsyncClient.builder().endpointOverride(URI.create(System.getenv("ENDPOINT"))).forcePathStyle(true).multipartEnabled(true).build();
        S3TransferManager transfers = S3TransferManager.builder().s3Client(client).build()) {
      for (String key : keys) {
        Path file = Path.of(System.getenv("WORK"), "object-" + keys.indexOf(key));
        transfers.downloadFile(download -> download.getObjectRequest(get -> get.bucket(bucket).key(key)).destination(file)).completionFuture().join();
        byte[] bytes = Files.readAllBytes(file);
        byte[] whole = client.getObject(get -> get.bucket(bucket).key(key), AsyncResponseTransformer.toBytes()).join().asByteArray();
        if (!Arrays.equals(bytes, whole)) throw new IllegalStateException("the two ways read otherwise: " + key);
        String md5 = HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
        System.out.println("{\"key\":" + quoted(key) + ",\"size\":" + bytes.length + ",\"md5\":\"" + md5 + "\"}");
      }
      List<String> listed = new ArrayList<>();
      client.listObjectsV2Paginator(list -> list.bucket(bucket).maxKeys(2)).subscribe(page -> page.contents().forEach(object -> listed.add(object.key()))).join();
      System.out.println("{\"listed\":[" + listed.stream().map(AwsSdk::quoted).collect(Collectors.joining(",")) + "]}");
    }
  }

  private static String quoted(String text) {
    return "\"" + text.chars().mapToObj(at -> String.format("\\u%04x", at)).collect(Collectors.joining()) + "\"";
  }
}
