/*
 * The life of the core as a whole: what brings its globals and thread variables to their initial values.
 *
 * An execution is: core_init(), the program, core_reset(). Everything that the program created must be gone before
 * core_reset(), so that the first execution of a process and its millionth take the same steps.
 */
#ifndef WAKEFUZZ_CORE_CORE_H
#define WAKEFUZZ_CORE_CORE_H

/*
 * Prepares the globals of the lower half (big lock, coroutine numbers) and calls core_thread_reset(). Call it once
 * before anything else of the core, on the thread that will be the main thread. Does not block.
 */
void core_init(void);

/*
 * Undoes core_init(). Calls core_fatal("leak", ...) if a coroutine, an AioContext or the main loop is still there.
 * Call it on the main thread after all others have been joined. Does not block.
 */
void core_reset(void);

/*
 * Brings all thread variables of the core to their initial values for the calling thread. Threads of
 * qemu_thread_create() do this by themselves when they start; a thread from elsewhere that is reused must call it.
 * Does not block.
 */
void core_thread_reset(void);

#endif
