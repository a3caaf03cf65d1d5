import java.nio.file.Files;
import java.nio.file.Path;

/** Copies a file by Files.copy. */
class Copy {
    public static void main(String[] arguments) throws Exception {
        Files.copy(Path.of(arguments[0]), Path.of(arguments[1]));
    }
}
