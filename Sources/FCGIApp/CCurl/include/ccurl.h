// One guarded HTTP(S) request through libcurl. Its options are variadic in C, which Swift cannot call.
#ifndef TORCHGATE_CCURL_H
#define TORCHGATE_CCURL_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    TG_FETCH_DONE = 0,       // status and location are set; on 200 the body is in the file
    TG_FETCH_FAILED = 1,     // nothing that a client should be told apart
    TG_FETCH_FORBIDDEN = 2,  // `permit` refused the address
    TG_FETCH_TOO_LARGE = 3,  // the body went beyond max_bytes
} tg_fetch_code;

typedef struct {
    const char *url;      // http or https, canonical
    const char *resolve;  // "host:port:address[,address…]": no other look-up takes place.
                          // NULL where the host is an address
    const char *user_agent;
    long connect_ms;
    long total_ms;
    long slow_bytes;  // fewer bytes a second …
    long slow_seconds;  // … for so many seconds end the transfer
    uint64_t max_bytes;
    int output;  // where a body of status 200 is written
    // Asked for the address of each socket before it exists: 4 or 16 bytes in network order. 1 = permitted.
    int (*permit)(void *context, const uint8_t *address, int count, int port);
    void *context;
} tg_fetch_request;

typedef struct {
    long status;
    uint64_t bytes;
    char location[2050];  // where a redirect leads, absolute; empty = none, or longer than 2048 bytes
} tg_fetch_result;

// Blocks until the transfer ended. Follows no redirect, uses no proxy, sends no credential.
tg_fetch_code tg_fetch(const tg_fetch_request *request, tg_fetch_result *result);

#endif
