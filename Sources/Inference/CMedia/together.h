// Work on several threads, all of which exist before the sandbox does.
#ifndef TORCHGATE_CMEDIA_TOGETHER_H
#define TORCHGATE_CMEDIA_TOGETHER_H

// Calls work(context, k) for each k below `count`, on the calling thread and on the helpers; waits for all.
void tg_together(void (*work)(void *context, int k), void *context, int count);
// Ends the helpers.
void tg_helpers_end(void);

#endif
