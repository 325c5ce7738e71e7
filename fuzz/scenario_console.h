/*
 * The next front end of a character device, after the monitor: a console in the main loop. It comes while a client of the monitor may
 * still be there, another client waits meanwhile, and the device closes for good when the console has gone.
 *
 * Invariants that it checks: it is told of the client that is there, and of no other while that one stays; who waits is hung up on, and
 * who comes later, too; the main loop sleeps afterwards.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_CONSOLE_H
#define WAKEFUZZ_FUZZ_SCENARIO_CONSOLE_H

#include "core/chardev.h"

/* has_client: is one connected for sure? The device has no front end, and is closed afterwards. Main thread; polls. */
void scenario_console_visit(Chardev *chr, bool has_client);

/* Let the main loop run for a second in which nothing happens: one that goes round for nothing gets no further. Main thread. */
void scenario_idle(void);

#endif
