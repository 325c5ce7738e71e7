/*
 * The terminal as a character device, on real threads: who looks for a client, what the front end is told, and when.
 */
#include "core_upper_harness.h"

#include <string.h>
#include <sys/socket.h>

#include "core/chardev_pty.h"

typedef struct Console {
    PtyChardev *chr;
    unsigned opened, closed;
    bool greets;
    char input[16];
    size_t input_size;
} Console;

static void console_event(void *opaque, QEMUChrEvent event)
{
    Console *console = opaque;

    if (event == CHR_EVENT_CLOSED) {
        console->closed++;
        return;
    }
    console->opened++;
    if (console->greets) {
        g_assert_cmpint(pty_chr_write(console->chr, (const uint8_t *)"hello", 5), ==, 5);
    }
}

static void console_read(void *opaque, const uint8_t *buf, int size)
{
    Console *console = opaque;

    g_assert_cmpuint(console->input_size + (size_t)size, <=, sizeof(console->input));
    memcpy(console->input + console->input_size, buf, (size_t)size);
    console->input_size += (size_t)size;
}

static void up(Console *console, bool greets)
{
    core_up(0);
    *console = (Console){ .greets = greets };
    console->chr = qemu_chr_new_pty(console_read, console_event, console);
}

static void down(Console *console)
{
    qemu_chr_free_pty(console->chr);
    core_down();
}

/* Somebody opens the terminal. */
static int somebody(Console *console)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    qemu_chr_open_pty(console->chr, pair[1]);
    return pair[0];
}

static int write_one(Console *console)
{
    return pty_chr_write(console->chr, (const uint8_t *)"!", 1);
}

static void assert_reads(int fd, const char *text)
{
    char buffer[32];

    g_assert_cmpint(recv(fd, buffer, sizeof(buffer), 0), ==, (int)strlen(text));
    g_assert_cmpmem(buffer, strlen(text), text, strlen(text));
}

/* What finds the client is lost itself: its front end is told first. */
static void test_write_looks_for_a_client(void)
{
    Console console;
    int fd;

    up(&console, false);
    g_assert_cmpint(write_one(&console), ==, 0);
    g_assert_cmpuint(console.opened, ==, 0);
    fd = somebody(&console);
    g_assert_cmpuint(console.opened, ==, 0);
    g_assert_cmpint(write_one(&console), ==, 0);
    g_assert_cmpuint(console.opened, ==, 1);
    g_assert_cmpint(write_one(&console), ==, 1);
    g_assert_cmpuint(console.opened, ==, 1);
    assert_reads(fd, "!");
    close(fd);
    down(&console);
}

/* With a state that is known only after the event this does not end. */
static void test_front_end_greets_once(void)
{
    Console console;
    int fd;

    up(&console, true);
    fd = somebody(&console);
    g_assert_cmpint(write_one(&console), ==, 0);
    g_assert_cmpuint(console.opened, ==, 1);
    assert_reads(fd, "hello");
    close(fd);
    down(&console);
}

static void test_timer_looks_for_a_client(void)
{
    Console console;
    int fd;

    up(&console, true);
    fd = somebody(&console);
    while (!console.opened) {
        main_loop_wait(false);
    }
    assert_reads(fd, "hello");
    close(fd);
    down(&console);
}

static void test_next_client_when_the_last_has_gone(void)
{
    Console console;
    int first, second;

    up(&console, true);
    first = somebody(&console);
    second = somebody(&console);
    write_one(&console);
    g_assert_cmpint(send(first, "abc", 3, 0), ==, 3);
    close(first);
    while (!console.closed) {
        main_loop_wait(false);
    }
    g_assert_cmpmem(console.input, console.input_size, "abc", 3);
    g_assert_cmpuint(console.opened, ==, 1);
    write_one(&console);
    g_assert_cmpuint(console.opened, ==, 2);
    g_assert_cmpuint(console.closed, ==, 1);
    assert_reads(second, "hello");
    close(second);
    down(&console);
}

static void test_who_has_gone_before_is_nobody(void)
{
    Console console;

    up(&console, true);
    close(somebody(&console));
    close(somebody(&console));
    g_assert_cmpint(write_one(&console), ==, 0);
    g_assert_cmpint(write_one(&console), ==, 0);
    g_assert_cmpuint(console.opened + console.closed, ==, 0);
    down(&console);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pty/write-looks-for-a-client", test_write_looks_for_a_client);
    g_test_add_func("/pty/front-end-greets-once", test_front_end_greets_once);
    g_test_add_func("/pty/timer-looks-for-a-client", test_timer_looks_for_a_client);
    g_test_add_func("/pty/next-client-when-the-last-has-gone", test_next_client_when_the_last_has_gone);
    g_test_add_func("/pty/who-has-gone-before-is-nobody", test_who_has_gone_before_is_nobody);
    return g_test_run();
}
