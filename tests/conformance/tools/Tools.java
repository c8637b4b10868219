import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.*;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own command line tools in this process, one after the other, as cases.txt says, and writes "pass NAME", "fail NAME" or "skip NAME".
 * In one process a tool takes a fraction of the second that a JVM of its own would need.
 *
 *   Tools BOOTSTRAP CASES RESULTS LOG ONLY [DATA_DIR]
 */
public class Tools {
    static final long TOOL_SECONDS_MAX = 60;
    static final Map<String, String> CLASSES = new HashMap<>();
    static final Map<String, String> VARIABLES = new HashMap<>();

    static class Ended extends Error {
        final int status;
        Ended(int status) { super(null, null, false, false); this.status = status; }
    }
    static class Failed extends RuntimeException { Failed(String why) { super(why); } }
    static class Skipped extends RuntimeException { Skipped(String why) { super(why); } }

    static PrintStream log;
    static String out = "", clean = "";
    static int status;
    static volatile int exit = -1;
    /** What a tool wants done when its process ends: the console producer sends its last records there. */
    static final List<Runnable> hooks = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] args) throws Exception {
        VARIABLES.put("B", args[0]);
        VARIABLES.put("P", "jt" + new Random().nextInt(100000));
        if (args.length > 5) VARIABLES.put("DATA", args[5]);
        log = new PrintStream(new FileOutputStream(args[3]), true, "UTF-8");
        PrintStream results = new PrintStream(new FileOutputStream(args[2], true), true, "UTF-8");
        Pattern only = Pattern.compile(args[4]);
        Exit.setExitProcedure(Tools::ended);
        Exit.setHaltProcedure(Tools::ended);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        String name = null;
        List<String> body = new ArrayList<>();
        List<String> lines = new ArrayList<>(Files.readAllLines(Path.of(args[1])));
        lines.add("== end");
        for (String line : lines) {
            if (line.startsWith("tool ")) { String[] parts = line.split(" "); CLASSES.put(parts[1], parts[2]); continue; }
            if (!line.startsWith("== ")) { if (!line.isBlank() && !line.startsWith("#")) body.add(line); continue; }
            if (name != null && (only.matcher(name).find() || name.startsWith("prepare"))) one(name, body, results);
            name = line.substring(3).trim();
            body.clear();
        }
        results.flush();
        Runtime.getRuntime().halt(0); // tools leave threads behind
    }

    static void ended(int code, String message) {
        if (exit < 0) exit = code;
        throw new Ended(code);
    }

    static void one(String name, List<String> body, PrintStream results) {
        log.println("\n== " + name);
        long start = System.nanoTime();
        String how = "pass";
        try {
            for (String line : body) step(line);
        } catch (Skipped skip) {
            how = "skip";
        } catch (Throwable problem) {
            log.println("  FAILED: " + problem);
            how = "fail";
        }
        log.println("  " + how + " " + (System.nanoTime() - start) / 1_000_000 + " ms");
        if (!name.startsWith("prepare") || how.equals("fail")) results.println(how + " " + name);
    }

    /** One line: a verb, then its words. */
    static void step(String line) throws Exception {
        line = variables(line);
        int space = line.indexOf(' ');
        String verb = space < 0 ? line : line.substring(0, space), rest = space < 0 ? "" : line.substring(space + 1);
        switch (verb) {
            case "create" -> {
                List<String> words = words(rest);
                List<String> all = new ArrayList<>(List.of("topics", "--create", "--topic", words.get(0), "--partitions", words.get(1), "--replication-factor", "1"));
                for (String config : words.subList(2, words.size())) { all.add("--config"); all.add(config); }
                tool(all, "");
                has("Created topic " + Pattern.quote(words.get(0)));
            }
            case "feed" -> { // feed TOPIC LINES [ARGS]: LINES is a..b, or text with | between lines
                List<String> words = words(rest);
                List<String> all = new ArrayList<>(List.of("console-producer", "--topic", words.get(0)));
                all.addAll(words.subList(2, words.size()));
                tool(all, input(words.get(1)));
                ok();
            }
            case "eat" -> {
                List<String> words = words(rest);
                List<String> all = new ArrayList<>(List.of("console-consumer", "--from-beginning", "--timeout-ms", "8000", "--topic"));
                all.addAll(words);
                tool(all, "");
            }
            case "run" -> tool(words(rest), "");
            case "ok" -> ok();
            case "fails" -> { if (status == 0) throw new Failed("exit status 0"); }
            case "has" -> has(rest);
            case "hasnt" -> { if (Pattern.compile(rest, Pattern.MULTILINE).matcher(out).find()) throw new Failed("output has " + rest); }
            case "soon" -> soon(rest);
            case "lines" -> same(rest, clean.strip().replace("\n", "|"));
            case "sorted" -> { // numbers or words of the output, sorted, are these
                List<String> got = new ArrayList<>(List.of(clean.strip().split("\n")));
                got.sort(Comparator.comparing((String s) -> s.matches("\\d+") ? Long.parseLong(s) : 0).thenComparing(s -> s));
                same(input(rest).strip().replace("\n", "|"), String.join("|", got));
            }
            case "count" -> same(rest, String.valueOf(clean.isBlank() ? 0 : clean.strip().split("\n").length));
            case "sum" -> { // sum N REGEX: the numbers in its first group add up to N
                int cut = rest.indexOf(' ');
                Matcher m = Pattern.compile(rest.substring(cut + 1), Pattern.MULTILINE).matcher(out);
                long sum = 0;
                while (m.find()) sum += Long.parseLong(m.group(1));
                same(rest.substring(0, cut), String.valueOf(sum));
            }
            case "keep" -> { // keep NAME REGEX: the first group is a variable from here on
                int cut = rest.indexOf(' ');
                Matcher m = Pattern.compile(rest.substring(cut + 1), Pattern.MULTILINE).matcher(out);
                if (!m.find()) throw new Failed("output has " + rest);
                VARIABLES.put(rest.substring(0, cut), m.group(1));
            }
            case "file" -> { // file NAME TEXT
                int cut = rest.indexOf(' ');
                Path file = Files.createTempFile("tools", ".json");
                Files.writeString(file, rest.substring(cut + 1));
                VARIABLES.put(rest.substring(0, cut), file.toString());
            }
            case "find" -> { // find NAME DIRECTORY: below the node's data
                if (!VARIABLES.containsKey("DATA")) throw new Skipped("no data directory");
                int cut = rest.indexOf(' ');
                Path found = Path.of(VARIABLES.get("DATA"), rest.substring(cut + 1));
                if (!Files.isDirectory(found)) throw new Failed("no " + found);
                VARIABLES.put(rest.substring(0, cut), found.toString());
            }
            case "wait" -> Thread.sleep(Long.parseLong(rest));
            default -> throw new Failed("no such verb: " + verb);
        }
    }

    static String variables(String line) {
        Matcher m = Pattern.compile("\\$(\\w+?)\\b").matcher(line.replace("$P", "$P_").replace("$P_", VARIABLES.get("P")));
        return m.replaceAll(r -> Matcher.quoteReplacement(VARIABLES.getOrDefault(r.group(1), r.group())));
    }

    static List<String> words(String text) {
        List<String> words = new ArrayList<>();
        Matcher m = Pattern.compile("'([^']*)'|(\\S+)").matcher(text);
        while (m.find()) words.add(m.group(1) != null ? m.group(1) : m.group(2));
        return words;
    }

    static String input(String text) {
        text = text.replace("\\t", "\t");
        Matcher m = Pattern.compile("(\\d+)\\.\\.(\\d+)(.*)").matcher(text);
        if (!m.matches()) return text.replace("|", "\n") + "\n";
        StringBuilder all = new StringBuilder();
        for (long i = Long.parseLong(m.group(1)); i <= Long.parseLong(m.group(2)); i++) {
            all.append(m.group(3).isEmpty() ? String.valueOf(i) : m.group(3).substring(1).replace("%", String.valueOf(i))).append('\n');
        }
        return all.toString();
    }

    static void soon(String rest) throws Exception { // soon REGEX :: TOOL ARGS: run again until the output has it, at most 15 s
        String[] parts = rest.split(" :: ", 2);
        boolean absent = parts[0].startsWith("not ");
        Pattern wanted = Pattern.compile(absent ? parts[0].substring(4) : parts[0], Pattern.MULTILINE);
        for (long end = System.nanoTime() + 15_000_000_000L; ; Thread.sleep(200)) {
            tool(words(parts[1]), "");
            if (wanted.matcher(out).find() != absent) return;
            if (System.nanoTime() > end) throw new Failed("15 s in vain for " + parts[0]);
        }
    }

    static void ok() { if (status != 0) throw new Failed("exit status " + status); }
    static void has(String regex) { if (!Pattern.compile(regex, Pattern.MULTILINE).matcher(out).find()) throw new Failed("output lacks " + regex); }
    static void same(String wanted, String got) { if (!wanted.equals(got)) throw new Failed("wanted " + cut(wanted) + ", got " + cut(got)); }
    static String cut(String text) { return text.length() > 300 ? text.substring(0, 300) + "..." : text; }

    /** Tools that take the address otherwise than as --bootstrap-server, or not at all. */
    static void address(String name, List<String> args) {
        switch (name) {
            case "cluster", "features", "metadata-quorum", "transactions" -> {
                if (name.equals("cluster")) { args.add("--bootstrap-server"); args.add(VARIABLES.get("B")); }
                else args.addAll(0, List.of("--bootstrap-server", VARIABLES.get("B")));
            }
            case "dump-log", "producer-perf", "copier" -> { }
            default -> args.addAll(0, List.of("--bootstrap-server", VARIABLES.get("B")));
        }
    }

    static void tool(List<String> words, String input) throws Exception {
        List<String> args = new ArrayList<>(words.subList(1, words.size()));
        address(words.get(0), args);
        String type = CLASSES.get(words.get(0));
        if (type == null) throw new Failed("no such tool: " + words.get(0));
        Method main = Class.forName(type).getMethod("main", String[].class);
        ByteArrayOutputStream stdout = new ByteArrayOutputStream(), stderr = new ByteArrayOutputStream();
        PrintStream oldOut = System.out, oldErr = System.err;
        InputStream oldIn = System.in;
        exit = -1;
        hooks.clear();
        System.setOut(new PrintStream(stdout, true, "UTF-8"));
        System.setErr(new PrintStream(stderr, true, "UTF-8"));
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        Throwable[] thrown = new Throwable[1];
        Thread thread = new Thread(() -> {
            try {
                main.invoke(null, (Object) args.toArray(new String[0]));
            } catch (InvocationTargetException e) {
                thrown[0] = e.getCause();
            } catch (Throwable e) {
                thrown[0] = e;
            }
            for (Runnable hook : List.copyOf(hooks)) hook.run();
        });
        thread.setDaemon(true);
        thread.start();
        thread.join(TOOL_SECONDS_MAX * 1000);
        boolean stuck = thread.isAlive();
        if (stuck) thread.interrupt();
        System.out.flush();
        System.setOut(oldOut);
        System.setErr(oldErr);
        System.setIn(oldIn);
        if (thrown[0] != null && !(thrown[0] instanceof Ended)) thrown[0].printStackTrace(new PrintStream(stderr, true, "UTF-8"));
        status = stuck ? 124 : exit >= 0 ? exit : thrown[0] == null ? 0 : 1;
        clean = stdout.toString("UTF-8");
        out = clean + stderr.toString("UTF-8");
        log.println("$ " + words.get(0) + " " + String.join(" ", args) + "   -> " + status + "\n" + (out.length() > 4000 ? out.substring(0, 4000) + "..." : out));
        if (stuck) throw new Failed(words.get(0) + " did not end");
    }
}
