// The Winograd kernels for any machine.
#include "vec_generic.h"
#include "winograd_engine.h"
#include "winograd_strip.h"

namespace srcnn::cpu {
constinit const WinogradEngine kGenericWinograd = make_winograd_engine<Generic>();
}
