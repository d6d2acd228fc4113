// Sizes of conv1's tiles in the backward (tiled_conv1.h), for those who plan and pack.
#pragma once

#include "../srcnn.h"
#include "winograd_transform.h"

namespace srcnn::cpu {

inline constexpr int kMostBandGroups = 3;                      // of four rows, in a band of conv2 (tiled_conv2.h)
inline constexpr int kBand = kTile;                            // rows that are made together
inline constexpr int kBandInputs = kBand + kKernel1 - 1;       // and rows under them
inline constexpr int kConv1Groups = kKernel1 / Winograd3::kR;  // nine taps are three groups of three
inline constexpr int kConv1Terms = kConv1Groups * kConv1Groups;
inline constexpr int kConv1SidePoints = Winograd3::kPoints;
inline constexpr int kConv1TilePoints = kConv1SidePoints * kConv1SidePoints;
inline constexpr int kConv1ColumnPoints = kConv1Groups * kConv1SidePoints;  // of one input column, for all groups

}  // namespace srcnn::cpu
