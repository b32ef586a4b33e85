// libfcgi's application interface (Debian: libfcgi-dev).
#include <fcgiapp.h>
