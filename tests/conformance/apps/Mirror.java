import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/**
 * What a mirror or a connector is judged by.
 *
 *   Mirror topic BOOTSTRAP TOPIC PARTITIONS
 *   Mirror feed BOOTSTRAP TOPIC COUNT            records 0..COUNT with key, value and header
 *   Mirror commit BOOTSTRAP GROUP TOPIC OFFSET   commits OFFSET for every partition
 *   Mirror check BOOTSTRAP TOPIC COUNT SECONDS   waits until every record is there; order kept in each partition
 *   Mirror group BOOTSTRAP GROUP TOPIC SECONDS   waits until the group has a position in the topic
 */
public class Mirror {
    public static void main(String[] a) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", a[1]);
        switch (a[0]) {
            case "topic" -> {
                try (Admin admin = Admin.create(p)) {
                    admin.createTopics(List.of(new NewTopic(a[2], Integer.parseInt(a[3]), (short) 1))).all().get();
                }
            }
            case "feed" -> {
                p.put("acks", "all");
                try (Producer<String, String> producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
                    for (int i = 0; i < Integer.parseInt(a[3]); i++) {
                        ProducerRecord<String, String> record = new ProducerRecord<>(a[2], "k" + i % 20, "v" + i);
                        record.headers().add("n", String.valueOf(i).getBytes());
                        producer.send(record);
                    }
                }
            }
            case "commit" -> {
                try (Admin admin = Admin.create(p)) {
                    Map<TopicPartition, OffsetAndMetadata> at = new HashMap<>();
                    int count = admin.describeTopics(List.of(a[3])).allTopicNames().get().get(a[3]).partitions().size();
                    for (int i = 0; i < count; i++) at.put(new TopicPartition(a[3], i), new OffsetAndMetadata(Long.parseLong(a[4])));
                    admin.alterConsumerGroupOffsets(a[2], at).all().get();
                }
            }
            case "check" -> System.exit(check(p, a[2], Integer.parseInt(a[3]), Integer.parseInt(a[4])) ? 0 : 1);
            case "group" -> System.exit(group(p, a[2], a[3], Integer.parseInt(a[4])) ? 0 : 1);
            default -> throw new IllegalArgumentException(a[0]);
        }
    }

    static boolean check(Properties p, String topic, int count, int seconds) throws Exception {
        p.put("auto.offset.reset", "earliest");
        p.put("group.id", "check-" + System.nanoTime());
        // The mirror makes the topic, not the one who waits for it.
        p.put("allow.auto.create.topics", "false");
        p.put("metadata.max.age.ms", "1000");
        Map<Integer, Integer> seen = new HashMap<>();
        Map<Integer, Integer> last = new HashMap<>();
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        int disorder = 0, headers = 0;
        try (Consumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (seen.size() < count && System.nanoTime() < end) {
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
                    int n = Integer.parseInt(r.value().substring(1));
                    if (seen.merge(n, 1, Integer::sum) == 1 && n < last.getOrDefault(r.partition(), -1)) disorder++;
                    last.put(r.partition(), n);
                    if (r.headers().lastHeader("n") != null) headers++;
                }
            }
        }
        System.out.println(topic + ": " + seen.size() + " of " + count + " records, " + disorder + " out of order, " + headers + " with headers");
        return seen.size() == count && disorder == 0 && headers >= count;
    }

    static boolean group(Properties p, String group, String topic, int seconds) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        try (Admin admin = Admin.create(p)) {
            while (System.nanoTime() < end) {
                Map<TopicPartition, OffsetAndMetadata> at = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                for (Map.Entry<TopicPartition, OffsetAndMetadata> e : at.entrySet()) {
                    if (e.getKey().topic().equals(topic) && e.getValue() != null && e.getValue().offset() > 0) {
                        System.out.println(group + " is at " + e.getValue().offset() + " of " + e.getKey());
                        return true;
                    }
                }
                Thread.sleep(300);
            }
        }
        System.out.println(group + " has no position in " + topic);
        return false;
    }
}
