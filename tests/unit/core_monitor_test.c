/*
 * The monitor on real threads and real sockets: negotiation, the queue's limit, out-of-band commands, hang-ups, output that the
 * socket does not take, events, cleanup.
 *
 * The test is the main thread and the client in one: where it expects an answer it runs the main loop until there is something to
 * read. Where nothing else is said nothing sleeps for a time: what another thread will do is waited for, and a watchdog (alarm) ends a run
 * that hangs.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/atomic.h"
#include "core/core.h"
#include "core/main_loop.h"
#include "core/monitor_int.h"
#include "core/runstate.h"

#define WATCHDOG_SECONDS 120

static Chardev *chr;
static GString *input;

/* ---- what the tests share */

static int client_connect(void)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    qemu_chr_socket_connect(chr, pair[1]);
    g_string_truncate(input, 0);
    return pair[0];
}

static void client_send(int fd, const char *text)
{
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

/* The next line, without its end; NULL at the end of the stream. Until it is there the main loop goes round, or stands still. */
static char *client_line_full(int fd, bool main_loop)
{
    for (;;) {
        char *end = memchr(input->str, '\n', input->len);
        char buffer[4096];
        ssize_t size;

        if (end) {
            char *line = g_strndup(input->str, (gsize)(end - input->str));

            g_assert_true(g_str_has_suffix(line, "\r"));
            g_string_erase(input, 0, end - input->str + 1);
            g_strchomp(line);
            return line;
        }
        size = recv(fd, buffer, sizeof(buffer), main_loop ? MSG_DONTWAIT : 0);
        if (size == 0) {
            return NULL;
        }
        if (size > 0) {
            g_string_append_len(input, buffer, size);
        } else {
            g_assert_cmpint(errno, ==, EAGAIN);
            main_loop_wait(true);
        }
    }
}

static char *client_line(int fd)
{
    return client_line_full(fd, true);
}

static void expect(int fd, const char *expected)
{
    char *line = client_line(fd);

    g_assert_cmpstr(line, ==, expected);
    g_free(line);
}

static void expect_greeting(int fd)
{
    expect(fd, "{\"QMP\":{\"version\":{},\"capabilities\":[\"oob\"]}}");
}

static MonitorQMP *the_monitor(void)
{
    Monitor *mon = NULL;

    while (!mon) {
        qemu_mutex_lock(&monitor_lock);
        mon = TAILQ_FIRST(&mon_list);
        qemu_mutex_unlock(&monitor_lock);
    }
    return (MonitorQMP *)mon;
}

static void wait_for_suspend_cnt(int count)
{
    MonitorQMP *mon = the_monitor();

    while (qatomic_read(&mon->common.suspend_cnt) != count) {
        g_thread_yield();
    }
}

static unsigned queue_length(void)
{
    MonitorQMP *mon = the_monitor();
    unsigned length;

    qemu_mutex_lock(&mon->qmp_queue_lock);
    length = mon->qmp_requests->length;
    qemu_mutex_unlock(&mon->qmp_queue_lock);
    return length;
}

static void wait_for_queue_length(unsigned length)
{
    while (queue_length() != length) {
        g_thread_yield();
    }
}

static int negotiated_client(const char *arguments)
{
    int fd = client_connect();
    char *command = g_strdup_printf("{\"execute\":\"qmp_capabilities\"%s}", arguments);

    expect_greeting(fd);
    client_send(fd, command);
    expect(fd, "{\"return\":{}}");
    g_free(command);
    return fd;
}

static int oob_client(void)
{
    return negotiated_client(",\"arguments\":{\"enable\":[\"oob\"]}");
}

/* ---- commands */

static void negotiation_comes_first(void)
{
    int fd = client_connect();

    expect_greeting(fd);
    client_send(fd, "{\"execute\":\"query-status\",\"id\":\"early\"}");
    expect(fd,
           "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"Expecting capabilities negotiation with 'qmp_capabilities'\"},"
           "\"id\":\"early\"}");
    client_send(fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"warp\"]}}");
    expect(fd, "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Capability warp not available\"}}");
    client_send(fd, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-status\",\"id\":[1]}");
    expect(fd, "{\"return\":{}}");
    expect(fd, "{\"return\":{\"running\":true,\"status\":\"running\"},\"id\":[1]}");
    close(fd);
}

static void requests_are_checked(void)
{
    static const char *const cases[][2] = {
        { "[]", "QMP input must be a JSON object" },
        { "{}", "QMP input lacks member 'execute'" },
        { "{\"execute\":1}", "QMP input member 'execute' must be a string" },
        { "{\"execute\":\"stop\",\"x\":1}", "QMP input member 'x' is unexpected" },
        { "{\"execute\":\"stop\",\"arguments\":1}", "QMP input member 'arguments' must be an object" },
        { "{\"execute\":\"stop\",\"arguments\":{\"x\":1}}", "Parameter 'x' is unexpected" },
        { "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":\"1\"}}", "Invalid parameter type for 'ms', expected: integer" },
        { "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":-1}}", "Parameter 'ms' expects a value from 0 to 10000" },
        { "{\"execute\":\"job-cancel\"}", "Parameter 'id' is missing" },
        { "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":1}}", "Invalid parameter type for 'id', expected: string" },
        { "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"a\"}}", "Job not found" },
        { "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"a\",\"mode\":\"safe\"}}", "Parameter 'mode' is unexpected" },
        { "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"a\"}}", "Export 'a' is not found" },
        { "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"a\",\"mode\":\"soft\"}}",
          "Parameter 'mode' does not accept value 'soft'" },
        { "{\"exec-oob\":\"migrate-pause\"}", "QMP input member 'exec-oob' is unexpected" },
        { "}", "JSON parse error, invalid value" },
    };
    int fd = negotiated_client("");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *expected = g_strdup_printf("{\"error\":{\"class\":\"GenericError\",\"desc\":\"%s\"}}", cases[i][1]);

        client_send(fd, cases[i][0]);
        expect(fd, expected);
        g_free(expected);
    }
    close(fd);
}

static void coroutine_command_yields(void)
{
    int fd = negotiated_client("");

    client_send(fd, "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":1}}");
    expect(fd, "{\"return\":{}}");
    close(fd);
}

static void quit_asks_the_main_loop_to_end(void)
{
    int fd = negotiated_client("");

    g_assert_false(main_loop_should_exit());
    client_send(fd, "{\"execute\":\"quit\"}");
    expect(fd, "{\"return\":{}}");
    g_assert_true(main_loop_should_exit());
    close(fd);
}

/* ---- the queue: the main loop stands still while it fills */

static void one_request_at_a_time(void)
{
    int fd = negotiated_client("");

    client_send(fd, "{\"execute\":\"query-status\",\"id\":1}{\"execute\":\"stop\",\"id\":2}");
    wait_for_suspend_cnt(1);
    g_assert_cmpuint(queue_length(), ==, 1);
    expect(fd, "{\"return\":{\"running\":true,\"status\":\"running\"},\"id\":1}");
    expect(fd, "{\"event\":\"STOP\"}");
    expect(fd, "{\"return\":{},\"id\":2}");
    close(fd);
}

static void out_of_band_overtakes_what_is_queued(void)
{
    int fd = oob_client();
    char *line;

    for (unsigned i = 0; i < QMP_REQ_QUEUE_LEN_MAX - 1; i++) {
        client_send(fd, "{\"execute\":\"migrate\",\"id\":0}");
    }
    wait_for_queue_length(QMP_REQ_QUEUE_LEN_MAX - 1);
    g_assert_cmpint(qatomic_read(&the_monitor()->common.suspend_cnt), ==, 0);
    client_send(fd, "{\"exec-oob\":\"migrate-pause\",\"id\":\"now\"}");
    line = client_line_full(fd, false);
    g_assert_cmpstr(line, ==,
                    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"There's no migration in progress\"},\"id\":\"now\"}");
    g_free(line);
    close(fd);
}

static void full_queue_suspends_and_one_taken_resumes(void)
{
    int fd = oob_client();

    for (unsigned i = 0; i < QMP_REQ_QUEUE_LEN_MAX + 3; i++) {
        char *command = g_strdup_printf("{\"execute\":\"query-commands\",\"arguments\":{\"x\":1},\"id\":%u}", i);

        client_send(fd, command);
        g_free(command);
    }
    wait_for_suspend_cnt(1);
    g_assert_cmpuint(queue_length(), ==, QMP_REQ_QUEUE_LEN_MAX);
    for (unsigned i = 0; i < QMP_REQ_QUEUE_LEN_MAX + 3; i++) {
        char *expected = g_strdup_printf(
            "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Parameter 'x' is unexpected\"},\"id\":%u}", i);

        expect(fd, expected);
        g_free(expected);
    }
    g_assert_cmpint(qatomic_read(&the_monitor()->common.suspend_cnt), ==, 0);
    close(fd);
}

/* The byte that ends the number is an error of its own: with seven in the queue, it gets a ninth place. */
static void one_byte_may_fill_the_queue_twice(void)
{
    int fd = oob_client();

    for (unsigned i = 0; i < QMP_REQ_QUEUE_LEN_MAX - 1; i++) {
        client_send(fd, "{}");
    }
    client_send(fd, "1}");
    wait_for_queue_length(QMP_REQ_QUEUE_LEN_MAX + 1);
    for (unsigned i = 0; i < QMP_REQ_QUEUE_LEN_MAX + 1; i++) {
        char *line = client_line(fd);

        g_assert_true(g_str_has_prefix(line, "{\"error\":"));
        g_free(line);
    }
    g_assert_cmpint(qatomic_read(&the_monitor()->common.suspend_cnt), ==, 0);
    close(fd);
}

/* ---- hang-ups */

static void hang_up_while_suspended(const char *requests, int suspended)
{
    int fd = negotiated_client("");

    client_send(fd, requests);
    wait_for_suspend_cnt(suspended);
    close(fd);
    wait_for_suspend_cnt(0);
    g_assert_cmpuint(queue_length(), ==, 0);
    fd = negotiated_client("");
    close(fd);
}

static void hang_up_resumes(void)
{
    hang_up_while_suspended("{\"execute\":\"query-status\"}", 1);
}

static void hang_up_resumes_as_often_as_suspended(void)
{
    hang_up_while_suspended("6\xff", 2);
}

static void half_a_command_is_forgotten(void)
{
    int fd = negotiated_client("");

    client_send(fd, "{\"execute\":");
    close(fd);
    fd = negotiated_client("");
    close(fd);
}

/* ---- output and events */

/* Whoever emits an event holds monitor_lock, and may have found that the client before has negotiated. The sleep is for a greeting that
 * does not wait for it; one that does never fails this. */
static void greeting_waits_for_whoever_emits(void)
{
    int fd = negotiated_client("");
    char byte;

    close(fd);
    qemu_mutex_lock(&monitor_lock);
    fd = client_connect();
    g_usleep(50 * 1000);
    g_assert_cmpint(recv(fd, &byte, 1, MSG_DONTWAIT), ==, -1);
    qemu_mutex_unlock(&monitor_lock);
    expect_greeting(fd);
    close(fd);
}

static void output_waits_for_the_socket(void)
{
    enum { EVENTS = 40, LENGTH = 100000 };
    int fd = negotiated_client("");
    JsonObject *data = json_object_new();
    char *text = g_strnfill(LENGTH, 'x');

    json_object_set_string_member(data, "offset", text);
    for (unsigned i = 0; i < EVENTS; i++) {
        qapi_event_emit(QAPI_EVENT_RESUME, data);
    }
    for (unsigned i = 0; i < EVENTS; i++) {
        char *line = client_line(fd);

        g_assert_true(g_str_has_prefix(line, "{\"event\":\"RESUME\",\"data\":{\"offset\":\"xxx"));
        g_assert_cmpuint(strlen(line), >, LENGTH);
        g_free(line);
    }
    json_object_unref(data);
    g_free(text);
    close(fd);
}

/* Of three, the first is sent at once, the last after the interval, the second never. */
static void events_are_limited(void)
{
    int fd = negotiated_client("");
    char *line;

    for (int i = 1; i <= 3; i++) {
        JsonObject *data = json_object_new();

        json_object_set_int_member(data, "offset", i);
        qapi_event_emit(QAPI_EVENT_RTC_CHANGE, data);
        json_object_unref(data);
    }
    expect(fd, "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":1}}");
    line = client_line(fd);
    g_assert_cmpstr(line, ==, "{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":3}}");
    g_free(line);
    close(fd);
}

/* ---- cleanup: tear_down() does it, in each test */

/*
 * A client that has out-of-band negotiates once more, and hangs up when the dispatcher has taken that out of the queue and the command
 * has not run yet. The next one sends a command before it runs, without out-of-band, and has it afterwards: it is resumed all the same,
 * and read on.
 */
static void negotiation_of_the_client_before(void)
{
    int fd = oob_client(), next;

    client_send(fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
    wait_for_queue_length(1);
    while (queue_length()) {
        aio_poll(iohandler_get_aio_context(), false);
    }
    close(fd);
    next = client_connect();
    client_send(next, "{\"execute\":\"query-status\"}");
    while (!queue_length()) {
        g_thread_yield();
    }
    expect_greeting(next);
    for (unsigned i = 0; i < 2; i++) {
        char *line = client_line(next); /* of the negotiation, and of the command */

        g_assert_true(g_str_has_prefix(line, "{\"return\":"));
        g_free(line);
    }
    wait_for_suspend_cnt(0);
    client_send(next, "{\"execute\":\"query-status\"}");
    g_free(client_line(next));
    close(next);
}

static void cleanup_leaves_queued_requests(void)
{
    int fd = oob_client();

    client_send(fd, "{\"execute\":\"stop\"}{\"execute\":\"stop\"}{\"execute\":\"stop\"}");
    wait_for_queue_length(3);
    monitor_cleanup();
    qapi_event_emit(QAPI_EVENT_SHUTDOWN, NULL);
    qemu_chr_socket_close(chr);
    g_assert_null(client_line(fd));
    close(fd);
}

static void cleanup_turns_away_who_comes(void)
{
    int fd;

    monitor_cleanup();
    qemu_chr_socket_close(chr);
    fd = client_connect();
    g_assert_null(client_line(fd));
    close(fd);
}

/* ---- */

static void set_up(void)
{
    core_init();
    g_assert_cmpint(qemu_init_main_loop(), ==, 0);
    monitor_init_globals();
    chr = qemu_chr_new_socket("test");
    monitor_init_qmp(chr);
    input = g_string_new(NULL);
}

static void tear_down(void)
{
    if (mon_iothread) {
        monitor_cleanup();
    }
    g_string_free(input, TRUE);
    qemu_chr_delete(chr);
    monitor_cleanup_globals();
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* kicks that came after the last wait */
    }
    qemu_cleanup_main_loop();
    core_reset();
}

static void run_test(gconstpointer function)
{
    set_up();
    ((void (*)(void))(uintptr_t)function)();
    tear_down();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*function)(void);
    } tests[] = {
        { "/monitor/command/negotiation-comes-first", negotiation_comes_first },
        { "/monitor/command/requests-are-checked", requests_are_checked },
        { "/monitor/command/coroutine-command-yields", coroutine_command_yields },
        { "/monitor/command/quit-asks-the-main-loop-to-end", quit_asks_the_main_loop_to_end },
        { "/monitor/queue/one-request-at-a-time", one_request_at_a_time },
        { "/monitor/queue/out-of-band-overtakes", out_of_band_overtakes_what_is_queued },
        { "/monitor/queue/full-suspends-and-one-taken-resumes", full_queue_suspends_and_one_taken_resumes },
        { "/monitor/queue/one-byte-may-fill-it-twice", one_byte_may_fill_the_queue_twice },
        { "/monitor/hang-up/resumes", hang_up_resumes },
        { "/monitor/hang-up/resumes-as-often-as-suspended", hang_up_resumes_as_often_as_suspended },
        { "/monitor/hang-up/half-a-command-is-forgotten", half_a_command_is_forgotten },
        { "/monitor/hang-up/negotiation-comes-after-it", negotiation_of_the_client_before },
        { "/monitor/event/greeting-waits", greeting_waits_for_whoever_emits },
        { "/monitor/output/waits-for-the-socket", output_waits_for_the_socket },
        { "/monitor/event/limited-to-one-an-interval", events_are_limited },
        { "/monitor/cleanup/leaves-queued-requests", cleanup_leaves_queued_requests },
        { "/monitor/cleanup/turns-away-who-comes", cleanup_turns_away_who_comes },
    };

    alarm(WATCHDOG_SECONDS);
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add_data_func(tests[i].path, (gconstpointer)(uintptr_t)tests[i].function, run_test);
    }
    return g_test_run();
}
