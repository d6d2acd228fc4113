# Faults of the backward. CMakeLists.txt says what the fields mean. They are run on one multiprocessor: two blocks at most, which
# go from job to job.

set(fused backward_fma.cu)

# ---- Barriers

planted_fault(backward_no_barrier_before_hidden2_is_overwritten
  FILE ${fused}
  OLD [=[      __syncthreads();  // hidden2 is overwritten
]=]
  CASE 1,1,backward,zeros,1,1,4,12,90 CAUGHT output)

planted_fault(backward_no_barrier_before_hidden1_is_overwritten
  FILE ${fused}
  OLD [=[      __syncthreads();  // hidden1 is overwritten
]=]
  CASE 1,1,backward,zeros,1,1,4,12,90 CAUGHT output)

planted_fault(backward_no_barrier_before_blocks_are_added_up
  FILE backward.cu
  OLD [=[  sums[part * kSumLanes + lane] = sum;
  __syncthreads();
]=]
  NEW [=[  sums[part * kSumLanes + lane] = sum;
]=]
  CASE 1,1,backward,zeros,1,4,2,3,90 CAUGHT output)

planted_fault(backward_exit_before_a_barrier
  FILE backward.cu
  OLD [=[  __syncthreads();
  if (part > 0 || element.to == nullptr) return;
]=]
  NEW [=[  if (part > 0 || element.to == nullptr) return;
  __syncthreads();
]=]
  CASE 1,1,backward,zeros,1,1,2,3,90 CAUGHT error)

# ---- Halos, rings, edges

planted_fault(backward_halo_of_the_segment_one_row_short
  FILE ${fused}
  OLD [=[{max(0, job.y0 - halo),]=]
  NEW [=[{max(0, job.y0 - halo + 1),]=]
  CASE 1,1,backward,zeros,1,1,40,5,90 CAUGHT output)

planted_fault(backward_halo_of_hidden2_one_column_short
  FILE backward_config.cpp
  OLD [=[config.halo2 = whole_quads(reach2 + config.input_halo);]=]
  NEW [=[config.halo2 = whole_quads(config.input_halo);]=]
  CASE 3,1,backward,zeros,1,1,3,90,90 CAUGHT output)

planted_fault(backward_ring_of_hidden_rows_one_short
  FILE backward_fma.h COMPILE backward_config.cpp ${fused}
  OLD [=[return rows + 2 * (kernel2 / 2); }]=]
  NEW [=[return rows + 2 * (kernel2 / 2) - 1; }]=]
  CASE 3,1,backward,zeros,1,1,20,5,90 CAUGHT output)

planted_fault(backward_columns_of_the_next_strip_counted_twice
  FILE backward_weight_sums.cuh COMPILE ${fused}
  OLD [=[min(b.config().strip_width, b.width() - job.x0)};]=]
  NEW [=[min(b.config().strip_width + 1, b.width() - job.x0)};]=]
  CASE 1,1,backward,zeros,1,1,3,90,90 CAUGHT output)

planted_fault(backward_rows_of_the_next_segment_counted_twice
  FILE backward_weight_sums.cuh COMPILE ${fused}
  OLD [=[{rows.within({job.y0, job.y1}),]=]
  NEW [=[{rows,]=]
  CASE 1,1,backward,zeros,1,1,40,5,90 CAUGHT output)

planted_fault(backward_copies_of_the_first_column_one_tap_short
  FILE backward_layers.cuh COMPILE ${fused}
  OLD [=[kLeft ? kReach + outside : 0, end]=]
  NEW [=[kLeft ? kReach + outside + 1 : 0, end]=]
  CASE 1,1,backward,replicate,1,1,3,5,90 CAUGHT output)

planted_fault(backward_input_rows_written_one_too_early
  FILE ${fused}
  OLD [=[is_last() ? job.y1 : max(job.y0, min(job.y1, rows.end - kReach1))]=]
  NEW [=[is_last() ? job.y1 : max(job.y0, min(job.y1, rows.end - kReach1 + 1))]=]
  CASE 1,1,backward,zeros,1,1,20,5,90 CAUGHT output)

# ---- Products and sums

planted_fault(backward_relu_passes_at_zero
  FILE backward_layers.cuh COMPILE ${fused}
  OLD [=[!(features[q] <= 0.0f)]=]
  NEW [=[!(features[q] < 0.0f)]=]
  CASE 1,1,backward,zeros,1,1,3,5,90 CAUGHT output)

planted_fault(backward_taps_not_turned_round
  FILE backward.cu
  OLD [=[taps2 + taps2 - 1 - tap]);]=]
  NEW [=[taps2 + tap]);]=]
  CASE 3,1,backward,zeros,1,1,3,5,90 CAUGHT output)

planted_fault(backward_sums_begun_anew_for_every_job
  FILE ${fused}
  OLD [=[    go_through_strip(block, job, begin);
    begin = false;
]=]
  NEW [=[    go_through_strip(block, job, begin);
]=]
  CASE 1,1,backward,zeros,1,5,2,3,90 CAUGHT output)

planted_fault(backward_last_block_left_out_of_the_sum
  FILE backward.cu
  OLD [=[block < p.blocks; block += kSumParts]=]
  NEW [=[block < p.blocks - 1; block += kSumParts]=]
  CASE 1,1,backward,zeros,1,5,2,3,90 CAUGHT output)

planted_fault(backward_second_half_of_the_rows_left_out_of_the_sum
  FILE backward.cu
  OLD [=[split < element.splits; ++split]=]
  NEW [=[split < 1; ++split]=]
  CASE 1,1,backward,zeros,1,1,4,3,90 CAUGHT output)

planted_fault(bicubic_adjoint_window_too_narrow
  FILE bicubic_adjoint.cu
  OLD [=[p.in_size : i + 3);]=]
  NEW [=[p.in_size : i + 2);]=]
  CASE 1,1,backward,zeros,2,1,6,6,90 CAUGHT output)
