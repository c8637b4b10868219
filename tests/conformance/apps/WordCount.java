import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/**
 * Counts words with exactly_once_v2 over a repartition and a changelog topic.
 *
 *   WordCount run BOOTSTRAP STATE_DIR            runs until it is killed
 *   WordCount feed BOOTSTRAP FROM TO             lines FROM..TO, each of three words out of 40
 *   WordCount check BOOTSTRAP LINES SECONDS      waits until the counts are those of LINES lines, exactly; ends with 1 if they are not
 */
public class WordCount {
    static final String IN = "words-in", OUT = "words-out";
    static final int WORDS = 40;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "run" -> run(args[1], args[2]);
            case "feed" -> feed(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
            case "check" -> System.exit(check(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3])) ? 0 : 1);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static String line(int i) {
        return "w" + i % WORDS + " w" + i * 7 % WORDS + " w" + i * 13 % WORDS;
    }

    static void run(String bootstrap, String state) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, "word-count");
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        p.put(StreamsConfig.STATE_DIR_CONFIG, state);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), "6000");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), "1000");
        p.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), "10000");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(IN, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(text -> Arrays.asList(text.split(" ")))
            .groupBy((key, word) -> word, Grouped.with("by-word", Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .to(OUT, Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams streams = new KafkaStreams(builder.build(), p);
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(problem -> {
            System.out.println("uncaught " + problem);
            problem.printStackTrace(System.out);
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
    }

    static void feed(String bootstrap, int from, int to) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("acks", "all");
        try (Producer<String, String> producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
            for (int i = from; i < to; i++) producer.send(new ProducerRecord<>(IN, "k" + i % 10, line(i)));
        }
    }

    static boolean check(String bootstrap, int lines, int seconds) {
        Map<String, Long> wanted = new TreeMap<>();
        for (int i = 0; i < lines; i++) for (String word : line(i).split(" ")) wanted.merge(word, 1L, Long::sum);
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("isolation.level", "read_committed");
        p.put("auto.offset.reset", "earliest");
        Map<String, Long> last = new TreeMap<>();
        long updates = 0, backwards = 0;
        try (Consumer<String, Long> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> parts = new ArrayList<>();
            consumer.partitionsFor(OUT).forEach(info -> parts.add(new TopicPartition(OUT, info.partition())));
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            // Until the counts are right, and then a little longer: what comes too much comes late.
            long end = System.nanoTime() + seconds * 1_000_000_000L, calm = 0;
            while (System.nanoTime() < end) {
                for (ConsumerRecord<String, Long> r : consumer.poll(Duration.ofMillis(200))) {
                    Long before = last.put(r.key(), r.value());
                    updates++;
                    calm = 0;
                    // A committed count never goes back and is never told twice: each commit tells a word's count once.
                    if (before != null && r.value() <= before) backwards++;
                }
                if (last.equals(wanted)) {
                    if (calm == 0) calm = System.nanoTime();
                    if (System.nanoTime() - calm > 2_000_000_000L) break;
                }
            }
        }
        boolean exact = last.equals(wanted);
        System.out.println((exact ? "exact" : "WRONG") + ": " + last.size() + " of " + wanted.size() + " words, " + updates + " updates, " + backwards + " backwards");
        if (!exact) System.out.println("wanted " + wanted + "\ngot    " + last);
        return exact && backwards == 0;
    }
}
