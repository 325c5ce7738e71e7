/* malloc() and calloc() whose blocks have no disk's alignment by chance; fuzz/unaligned.c. Any thread. */
#ifndef WAKEFUZZ_FUZZ_UNALIGNED_H
#define WAKEFUZZ_FUZZ_UNALIGNED_H

/* Bytes: what O_DIRECT asks of a buffer. Smaller blocks are as libc gives them. */
#define UNALIGNED_TO 512u

#endif
