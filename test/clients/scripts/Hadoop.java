import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.IOUtils;

/** Reads and lists all objects by Hadoop's s3a. */
public class Hadoop {
  public static void main(String[] args) throws Exception {
    Configuration configuration = new Configuration();
    configuration.set("fs.s3a.endpoint", System.getenv("ENDPOINT"));
    configuration.set("fs.s3a.endpoint.region", "us-east-1");
    configuration.set("fs.s3a.path.style.access", "true");
    configuration.set("fs.s3a.access.key", "any");
    configuration.set("fs.s3a.secret.key", "any-secret");
    String bucket = "s3a://" + System.getenv("BUCKET") + "/";
    FileSystem files = FileSystem.get(URI.create(bucket), configuration);
    List<String> listed = new ArrayList<>();
    for (var found = files.listFiles(new Path(bucket), true); found.hasNext(); ) listed.add(found.next().getPath().toUri().getPath().substring(1));
    for (String key : listed) {
      Path path = new Path(new Path(bucket), key.contains(":") ? "./" + key : key);
      byte[] bytes;
      try (FSDataInputStream file = files.open(path); ByteArrayOutputStream read = new ByteArrayOutputStream()) {
        IOUtils.copyBytes(file, read, 1 << 20, false);
        bytes = read.toByteArray();
        if (bytes.length > 20) {
          byte[] part = new byte[10];
          file.readFully(5, part);
          if (!HexFormat.of().formatHex(part).equals(HexFormat.of().formatHex(bytes, 5, 15))) throw new IllegalStateException("a range differs: " + key);
        }
      }
      String md5 = HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
      System.out.println("{\"key\":" + quoted(key) + ",\"size\":" + bytes.length + ",\"md5\":\"" + md5 + "\"}");
    }
    System.out.println("{\"listed\":[" + listed.stream().map(Hadoop::quoted).collect(Collectors.joining(",")) + "]}");
    System.exit(0);
  }

  private static String quoted(String text) {
    return "\"" + text.chars().mapToObj(at -> String.format("\\u%04x", at)).collect(Collectors.joining()) + "\"";
  }
}
