#include "fuzz/scenario_console.h"

#include <sys/socket.h>
#include <unistd.h>

#include "core/main_loop.h"
#include "core/timer.h"
#include "fuzz/fuzz.h"

typedef struct Console {
    CharBackend be;
    unsigned opened, closed;
} Console;

static int console_can_read(void *opaque)
{
    (void)opaque;
    return 1;
}

static void console_read(void *opaque, const uint8_t *buf, int size)
{
    (void)opaque;
    (void)buf;
    fuzz_check(size == 1);
}

static void console_event(void *opaque, QEMUChrEvent event)
{
    Console *console = opaque;

    if (event == CHR_EVENT_OPENED) {
        console->opened++;
    } else {
        console->closed++;
    }
    fuzz_check(console->opened == console->closed || console->opened == console->closed + 1);
}

/* ---- who connects */

static int connect_to(Chardev *chr)
{
    int pair[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    qemu_chr_socket_connect(chr, pair[1]);
    return pair[0];
}

static void check_hung_up(int fd)
{
    char byte;

    fuzz_check(recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
    close(fd);
}

static void noticed(void *opaque)
{
    *(bool *)opaque = true;
}

/* ---- the visit */

static void use_device(Chardev *chr, bool has_client)
{
    Console console = { 0 };

    fuzz_check(qemu_chr_fe_init(&console.be, chr));
    qemu_chr_fe_set_handlers(&console.be, console_can_read, console_read, console_event, &console, NULL);
    fuzz_check(!has_client || (console.opened == 1 && console.closed == 0));
    for (unsigned i = 0; i < 3; i++) {
        main_loop_wait(true);
    }
    if (has_client) {
        fuzz_reached("console-comes-while-a-client-is-there");
        fuzz_check(console.opened == 1 && console.closed == 0);
    }
    qemu_chr_fe_deinit(&console.be);
}

void scenario_console_visit(Chardev *chr, bool has_client)
{
    int waits = connect_to(chr);
    bool hung_up = false;

    qemu_set_fd_handler(waits, noticed, NULL, &hung_up);
    use_device(chr, has_client);
    qemu_chr_socket_close(chr);
    while (!hung_up) {
        main_loop_wait(false);
    }
    qemu_set_fd_handler(waits, NULL, NULL, NULL);
    check_hung_up(waits);
    check_hung_up(connect_to(chr));
    scenario_idle();
}

/* ---- idling */

void scenario_idle(void)
{
    bool over = false;
    QEMUTimer timer;

    timer_init_ns(&timer, QEMU_CLOCK_REALTIME, noticed, &over);
    timer_mod_ns(&timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + NANOSECONDS_PER_SECOND);
    while (!over) {
        main_loop_wait(false);
    }
}
