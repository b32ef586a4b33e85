#define _GNU_SOURCE
#include "ccurl.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    const tg_fetch_request *request;
    CURL *handle;
    uint64_t bytes;
    int forbidden;
    int too_large;
} transfer;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *peer) {
    transfer *state = context;
    const uint8_t *bytes = NULL;
    int count = 0, port = 0;
    if (purpose == CURLSOCKTYPE_IPCXN && peer->family == AF_INET) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)&peer->addr;
        bytes = (const uint8_t *)&address->sin_addr;
        count = 4;
        port = ntohs(address->sin_port);
    } else if (purpose == CURLSOCKTYPE_IPCXN && peer->family == AF_INET6) {
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)&peer->addr;
        bytes = (const uint8_t *)&address->sin6_addr;
        count = 16;
        port = ntohs(address->sin6_port);
    }
    if (!bytes || state->request->permit(state->request->context, bytes, count, port) != 1) {
        state->forbidden = 1;
        return CURL_SOCKET_BAD;
    }
    return socket(peer->family, peer->socktype | SOCK_CLOEXEC, peer->protocol);
}

static size_t take(char *bytes, size_t size, size_t number, void *context) {
    transfer *state = context;
    size_t count = size * number;
    long status = 0;
    curl_easy_getinfo(state->handle, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) return 0;  // its body is of no use: end the transfer
    if (count > state->request->max_bytes - state->bytes) {
        state->too_large = 1;
        return 0;
    }
    size_t written = 0;
    while (written < count) {
        ssize_t some = write(state->request->output, bytes + written, count - written);
        if (some < 0 && errno == EINTR) continue;
        if (some <= 0) return 0;
        written += (size_t)some;
    }
    state->bytes += count;
    return count;
}

static int configure(CURL *handle, transfer *state, struct curl_slist *resolve) {
    const tg_fetch_request *request = state->request;
    int wrong = 0;
#define SET(option, value) wrong |= curl_easy_setopt(handle, option, value) != CURLE_OK
    SET(CURLOPT_URL, request->url);
    if (resolve) SET(CURLOPT_RESOLVE, resolve);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_USERAGENT, request->user_agent);
    SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, request->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, request->total_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, request->slow_bytes);
    SET(CURLOPT_LOW_SPEED_TIME, request->slow_seconds);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, state);
    SET(CURLOPT_WRITEFUNCTION, take);
    SET(CURLOPT_WRITEDATA, state);
#undef SET
    return wrong;
}

tg_fetch_code tg_fetch(const tg_fetch_request *request, tg_fetch_result *result) {
    memset(result, 0, sizeof *result);
    pthread_once(&once, start);
    transfer state = {.request = request, .handle = curl_easy_init()};
    struct curl_slist *resolve = request->resolve ? curl_slist_append(NULL, request->resolve) : NULL;
    tg_fetch_code code = TG_FETCH_FAILED;
    if (state.handle && !resolve == !request->resolve && configure(state.handle, &state, resolve) == 0) {
        CURLcode outcome = curl_easy_perform(state.handle);
        curl_easy_getinfo(state.handle, CURLINFO_RESPONSE_CODE, &result->status);
        result->bytes = state.bytes;
        const char *location = NULL;
        curl_easy_getinfo(state.handle, CURLINFO_REDIRECT_URL, &location);
        if (location && strlen(location) <= 2048) strcpy(result->location, location);
        int refused_body = outcome == CURLE_WRITE_ERROR && result->status != 200;
        if (state.forbidden)
            code = TG_FETCH_FORBIDDEN;
        else if (state.too_large)
            code = TG_FETCH_TOO_LARGE;
        else if (outcome == CURLE_OK || refused_body)
            code = TG_FETCH_DONE;
    }
    curl_slist_free_all(resolve);
    if (state.handle) curl_easy_cleanup(state.handle);
    return code;
}
